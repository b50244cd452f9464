"""The tables of a report, as data, and what writes them."""
