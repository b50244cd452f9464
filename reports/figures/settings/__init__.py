"""Quality against margin, scale and whatever else varies."""
