"""The bytes that all links of a proxy process hold, and their limit."""

from lab.proxy.toxics.stage import KIB

HELD_MAX = 64 * KIB * KIB
LINK_SHARE = 64 * KIB  # what each link may hold also above the limit: every connection progresses


class Memory:
    """Each link reports what it holds; a link that holds its share stops reading at the limit."""

    def __init__(self) -> None:
        self.held = 0

    def admits(self, link_held: int) -> bool:
        return link_held < LINK_SHARE or self.held < HELD_MAX
