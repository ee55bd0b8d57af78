"""What can go wrong when a fault is commanded."""


class UnknownTargetError(Exception):
    """The running lab has no such service, instance, server or edge; the text lists the known ones."""


class FaultRefusedError(Exception):
    """An instance, the supervisor or the fault proxy refused the command; the text gives the reason."""
