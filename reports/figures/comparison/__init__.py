"""Settings beside each other."""
