"""The invariant of the catalogue: pages show its prices, and a search finds the product that it names."""

from __future__ import annotations

from lab.analysis.consistency.finding import Finding, count, rows
from lab.analysis.consistency.shoppers.shown import recorded
from lab.archive import Run

# The catalogue keeps no earlier prices. Version 1 is the only price that a product ever had.
_OTHER_PRICES = """
    SELECT request_id AS trace_id, session, route, p.id AS sku,
           (seen->>'$.price_cents')::BIGINT AS shown_cents, p.price_cents AS catalogue_cents,
           'the page shows another price than the catalogue' AS problem
    FROM requests JOIN products_products p ON p.id = (seen->>'$.sku')
    WHERE p.version = 1 AND shown_cents <> p.price_cents ORDER BY seq
"""
_SEARCHES = """
    CREATE OR REPLACE TEMP VIEW searches AS
    SELECT seq, request_id AS trace_id, session, asked->>'$.sku' AS sku,
           from_json(seen->'$.skus', '["VARCHAR"]') AS found, seen->>'$.more' AS more
    FROM requests WHERE route = 'GET /api/products' AND status = 200 AND (asked->>'$.sku') IS NOT NULL
"""
_NOT_FOUND = """
    SELECT trace_id, session, sku, found, 'the search for its name does not find the product' AS problem
    FROM searches WHERE more = 'false' AND NOT list_contains(found, sku) ORDER BY seq
"""


@recorded
def pages_show_the_catalogue(run: Run) -> Finding:
    """A product's page has the price of the catalogue; a search for a whole name finds the product."""
    run.execute(_SEARCHES)
    pages = count(run, "SELECT count(*) FROM requests WHERE (seen->>'$.price_cents') IS NOT NULL")
    searches = count(run, "SELECT count(*) FROM searches")
    violations = rows(run.sql(_OTHER_PRICES)) + rows(run.sql(_NOT_FOUND))
    return Finding(pages + searches, violations, detail=f"{searches} searches")
