"""What the searches did."""
