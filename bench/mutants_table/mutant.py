"""One planted bug of the shop, as data."""

from dataclasses import dataclass
from pathlib import Path

QUIET = "bench/mutants_table/quiet.yaml"  # no fault, every kind of request
ORDERS_KILLED = "bench/mutants_table/orders_killed.yaml"  # orders is killed six times
LOST_ANSWERS = "bench/mutants_table/lost_answers.yaml"  # half of the bank's answers are lost


# The modules of lab/analysis/consistency whose invariants are about a class of bugs.
ABOUT = {
    "money": ("money", "holds", "prices"),
    "stock": ("stock", "goods"),
    "events": ("events", "effects"),
    "mails": ("mails", "effects"),
    "reads": ("reads", "refusals"),
    "acknowledgements": ("acknowledgements", "sagas", "reads"),
    "availability": ("refusals", "catalogue", "prices"),
    "idempotency": ("effects", "repeats", "refusals", "holds"),
    "errors": ("errors", "refusals", "sagas", "money", "holds"),
    "none": (),
}


class DoesNotApplyError(Exception):
    """The old text of a mutant does not occur exactly once in its file."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug that replaces `old` by `new` in one file below system/.

    kind         the class of the bug: money, stock, ...
    description  the effect in one sentence
    experiment   the run that can show it: a name in experiments/, or a path from the checkout's root
    """

    name: str
    kind: str
    description: str
    file: str
    old: str
    new: str
    experiment: str = QUIET

    def applied(self, source: str) -> str:
        """The mutated text of the file. Raises DoesNotApplyError."""
        count = source.count(self.old)
        if count != 1:
            raise DoesNotApplyError(
                f"{self.name}: its old text occurs {count} times in {self.file}, expected once"
            )
        return source.replace(self.old, self.new)

    def plant(self, system: Path) -> Path:
        """Write the mutated file below `system`, a copy of system/. Raises DoesNotApplyError."""
        path = system / self.file
        path.write_text(self.applied(path.read_text()))
        return path


CLEAN = Mutant(
    "clean",
    "none",
    "The shop without a bug.",
    "chassis/run.py",
    "def serve(name: str) -> int:",
    "def serve(name: str) -> int:",
)
