"""The failpoints of the services: found in their source, described here."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lab.topology import PROJECT

SHOP = PROJECT / "system" / "shop"


class Description(NamedTuple):
    """`state` is the state of the work at the failpoint; `values` are those of the variable part of its name."""

    state: str
    values: tuple[str, ...] = ()


STEPS = (
    *("reserve_stock", "authorize_payment", "capture_payment", "commit_stock"),
    *("refund_payment", "take_stock_back"),
)
BANK_CALLS = ("authorize", "capture", "void", "refund")
DESCRIPTIONS = {
    "bank.before_authorize_commit": Description("the authorization is written, not committed"),
    "bank.before_{kind}_commit": Description(
        "the change of the authorization is written, not committed", ("capture", "void", "refund")
    ),
    "inventory.before_commit": Description("the reservation is changed, not committed"),
    "inventory.after_commit": Description("the change is committed, the answer not sent"),
    "inventory.between_read_and_write": Description(
        "the stock is read, not written (only with `stock_guard` off)"
    ),
    "notifications.after_send": Description("the mail is sent, not marked as sent"),
    "orders.before_{step.name}": Description("the saga's step is persisted, not done", STEPS),
    "orders.after_{step.name}": Description(
        "the saga's step is done, the next one not persisted", STEPS
    ),
    "payments.before_bank_{operation}": Description(
        "the intention is stored, the bank not called", BANK_CALLS
    ),
    "payments.after_bank_{operation}": Description(
        "the bank has answered, its answer is not stored", BANK_CALLS
    ),
}


@dataclass(frozen=True)
class Failpoint:
    """`template` is the name in the source, `names` are its possible values, `place` is file and function."""

    template: str
    place: str

    @property
    def service(self) -> str:
        return self.template.partition(".")[0]

    @property
    def names(self) -> list[str]:
        head, brace, tail = self.template.partition("{")
        if not brace:
            return [self.template]
        return [head + value + tail.partition("}")[2] for value in self.description.values]

    @property
    def description(self) -> Description:
        return DESCRIPTIONS[self.template]


def failpoints() -> list[Failpoint]:
    """Every call of `failpoint` in the services, by file and line."""
    return [found for file in sorted(SHOP.rglob("*.py")) for found in _in_file(file)]


def page() -> Iterator[str]:
    """The lines of docs/faults.md about them."""
    yield "## Failpoints"
    yield "A failpoint is a named place in a service's code. Faults with the point `failpoint` act there, e.g."
    yield "`lab faults add orders crash --point failpoint --scope failpoint=orders.after_capture_payment`."
    yield ""
    yield "| service | failpoint | state of the work there | place in `system/shop/` |"
    yield "|---|---|---|---|"
    for each in failpoints():
        names = ", ".join(f"`{name}`" for name in each.names)
        yield f"| {each.service} | {names} | {each.description.state} | {each.place} |"


def _in_file(file: Path) -> Iterator[Failpoint]:
    functions = [
        n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.AsyncFunctionDef)
    ]
    for function in functions:
        place = f"`{file.relative_to(SHOP)}`, `{function.name}`"
        calls = [n for n in ast.walk(function) if isinstance(n, ast.Call)]
        for call in sorted(calls, key=lambda call: call.lineno):
            if ast.unparse(call.func) == "failpoint":
                yield Failpoint(_template(call.args[0]), place)


def _template(argument: ast.expr) -> str:
    """The name as it is in the source: `orders.before_{step.name}` of an f-string."""
    if isinstance(argument, ast.JoinedStr):
        return "".join(
            f"{{{ast.unparse(part.value)}}}"
            if isinstance(part, ast.FormattedValue)
            else str(part.value)
            for part in argument.values
            if isinstance(part, ast.FormattedValue | ast.Constant)
        )
    return str(ast.literal_eval(argument))
