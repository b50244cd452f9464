"""What the losses do, from their own code."""
