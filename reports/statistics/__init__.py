"""Array in, array out: intervals, tests, correlations, ranks."""
