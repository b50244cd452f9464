"""The one exception that data may raise."""


class DataError(Exception):
    """Bad, missing or corrupt data; the message says which file, why, and what to do."""
