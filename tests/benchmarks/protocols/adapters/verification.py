"""Adapters of the metric vectors: verification."""

PROTOCOL = "verification"

ADAPTERS = {}
