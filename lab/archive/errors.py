"""The error of an archive that cannot be read."""


class ArchiveError(Exception):
    """The archive cannot be read; the message gives the reason and the remedy."""

    exit_code = 2
