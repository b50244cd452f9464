"""The catalog's rows, a file for each family of losses. No torch."""
