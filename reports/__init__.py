"""Results on disk to statistics, tables, figures and one page: ``python -m reports --help``."""
