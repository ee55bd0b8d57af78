"""The planted bugs of the shop, one module for each class. `bench/mutants.py` runs them."""

from bench.mutants_table import (
    acknowledgements,
    availability,
    errors,
    events,
    idempotency,
    mails,
    money,
    reads,
    stock,
)
from bench.mutants_table.mutant import Mutant

MODULES = (money, stock, events, mails, reads, acknowledgements, availability, idempotency, errors)
MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant for module in MODULES for mutant in module.MUTANTS
}
