"""Adapters of the metric vectors: identification."""

PROTOCOL = "identification"

ADAPTERS = {}
