"""Adapters of the metric vectors: kfold."""

PROTOCOL = "verification"

ADAPTERS = {}
