"""The one error that the report shows to a user."""


class ReportError(Exception):
    """A plan or run folder that cannot be read; the message names the file, the reason and what to
    do.
    """
