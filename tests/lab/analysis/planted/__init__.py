"""Planted bugs: each changes the audit tables of a clean run, and names the invariant that finds it."""

from tests.lab.analysis.planted import events, goods, mails, money, orders
from tests.lab.analysis.planted.state import Planted

MODULES = (money, goods, events, mails, orders)
PLANTED: dict[str, Planted] = {
    name: bug for module in MODULES for name, bug in module.PLANTED.items()
}
