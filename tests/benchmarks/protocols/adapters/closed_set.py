"""Adapters of the metric vectors: closed_set."""

PROTOCOL = "closed_set"

ADAPTERS = {}
