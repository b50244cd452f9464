"""Measures on any scores and embeddings: plain functions on arrays that know nothing of runs.

``benchmarks.protocols`` applies them to the images of a run.
"""
