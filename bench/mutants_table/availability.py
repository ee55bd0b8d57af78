"""Planted bugs that look like a healthy shop: wrong refusals, wrong prices, wrong admissions."""

from bench.mutants_table.mutant import Mutant

KIND = "availability"
MUTANTS = (
    Mutant(
        "half_out_of_stock",
        KIND,
        "About half of all products are refused as out of stock while thousands are on hand.",
        "shop/inventory/store.py",
        "on_hand + $14 * quantity >= 0)",
        "on_hand + $14 * quantity >= CASE WHEN $14 < 0 THEN 7500 ELSE 0 END)",
    ),
    Mutant(
        "tax_added_twice",
        KIND,
        "The price of an order is 19 % above the price in the catalogue.",
        "shop/products/store.py",
        "json_object_agg(id, price_cents)",
        "json_object_agg(id, round(price_cents * 1.19)::int)",
    ),
    Mutant(
        "any_password",
        KIND,
        "A login succeeds with any password of a known address.",
        "shop/users/passwords.py",
        "return verified and password_hash is not None",
        "return password_hash is not None",
    ),
    Mutant(
        "any_audience",
        KIND,
        "A user's token that was issued for another audience is accepted.",
        "chassis/http/auth.py",
        "                issuer=ISSUER, options=_UNTIMED,\n",
        '                issuer=ISSUER, options={**_UNTIMED, "verify_aud": False},\n',
    ),
    Mutant(
        "expired_token_accepted",
        KIND,
        "A token is accepted for a day after its expiry.",
        "chassis/http/auth.py",
        "    if not expires > now:\n",
        "    if not expires > now - 86_400:\n",
    ),
    Mutant(
        "search_finds_nothing",
        KIND,
        "A search of several words, or of a word with a capital letter, answers with an empty page.",
        "shop/products/app.py",
        "    if query.strip() and not words:",
        "    if query.strip() and query not in words:",
    ),
)
