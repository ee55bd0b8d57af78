"""Planted bugs in the handling of idempotency keys."""

from bench.mutants_table.mutant import LOST_ANSWERS, Mutant

KIND = "idempotency"
MUTANTS = (
    Mutant(
        "key_per_instance",
        KIND,
        "A repeated request that reaches another instance of orders places a second order.",
        "shop/orders/store.py",
        'return f"{user_id}/{key}" if self._idempotency else None',
        'return f"{user_id}/{key}/{self._owner}" if self._idempotency else None',
        "orders_crash",
    ),
    Mutant(
        "key_accepts_other_body",
        KIND,
        "A key that placed an order is accepted with another body, and answers with the first order.",
        "shop/orders/checkout.py",
        "if digest != fingerprint(body):",
        "if not digest:",
    ),
    Mutant(
        "bank_key_per_attempt",
        KIND,
        "A repeated call to the bank has a new key, so that a lost answer makes a second hold.",
        "shop/payments/payments.py",
        'key = f"{payment.id}:{operation}" if self._idempotent else self._new_id()',
        'key = f"{self._new_id()}:{operation}"',
        LOST_ANSWERS,
    ),
    Mutant(
        "stored_answer_ignored",
        KIND,
        "A repeated registration with the same key is refused: its stored answer is ignored.",
        "chassis/http/idempotency.py",
        "        attempt.stored = _stored_answer(row, digest)\n",
        "        _stored_answer(row, digest)\n",
    ),
)
