"""Adapters of the metric vectors: retrieval."""

PROTOCOL = "retrieval"

ADAPTERS = {}
