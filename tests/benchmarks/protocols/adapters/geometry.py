"""Adapters of the metric vectors: geometry."""

PROTOCOL = "geometry"

ADAPTERS = {}
