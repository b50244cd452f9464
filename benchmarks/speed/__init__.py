"""What it costs: time and memory of the suite beside the usual ways, measured in one run."""
