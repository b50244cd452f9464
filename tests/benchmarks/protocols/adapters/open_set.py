"""Adapters of the metric vectors: open_set."""

PROTOCOL = "open_set_recognition"

ADAPTERS = {}
