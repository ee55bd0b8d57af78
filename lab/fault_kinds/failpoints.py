"""The failpoints of the services: found in their source, described here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lab.topology import PROJECT

SHOP = PROJECT / "system" / "shop"
STEPS = (
    "reserve_stock", "authorize_payment", "capture_payment", "commit_stock", "refund_payment", "take_stock_back",
)  # fmt: skip
BANK_CALLS = ("authorize", "capture", "void", "refund")
# name in the source -> the state of the work there, and the values of the name's variable part
DESCRIPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bank.before_authorize_commit": ("the authorization is written, not committed", ()),
    "bank.before_{kind}_commit": ("the authorization is changed, not committed", ("capture", "void", "refund")),
    "inventory.before_commit": ("the reservation is changed, not committed", ()),
    "inventory.after_commit": ("the change is committed, the answer not sent", ()),
    "inventory.between_read_and_write": ("the stock is read, not written (only with `stock_guard` off)", ()),
    "notifications.after_send": ("the mail is sent, not marked as sent", ()),
    "orders.before_{step.name}": ("the saga's step is persisted, not done", STEPS),
    "orders.after_{step.name}": ("the saga's step is done, the next one not persisted", STEPS),
    "payments.before_bank_{operation}": ("the intention is stored, the bank not called", BANK_CALLS),
    "payments.after_bank_{operation}": ("the bank has answered, its answer is not stored", BANK_CALLS),
}  # fmt: skip


class Failpoint(NamedTuple):
    """`template` is the name in the source, `place` its file and function."""

    template: str
    place: str

    @property
    def names(self) -> list[str]:
        """The values of the template."""
        values = DESCRIPTIONS[self.template][1] or ("",)
        return [re.sub(r"{.*}", value, self.template) for value in values]


def failpoints() -> list[Failpoint]:
    """Every call of `failpoint` in the services, by file and line."""
    return [found for file in sorted(SHOP.rglob("*.py")) for found in _in_file(file)]


def _in_file(file: Path) -> Iterator[Failpoint]:
    for function in ast.walk(ast.parse(file.read_text())):
        if isinstance(function, ast.AsyncFunctionDef):
            calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            for call in sorted(calls, key=lambda call: call.lineno):
                if ast.unparse(call.func) == "failpoint":
                    template = ast.unparse(call.args[0]).lstrip("f").strip("'\"")
                    yield Failpoint(template, f"`{file.relative_to(SHOP)}`, `{function.name}`")
