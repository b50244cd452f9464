"""What a tuned study's report says of its searches."""
