-- name: authorizations
SELECT authorization_id::text, reference, idempotency_key, status, amount_cents, captured_cents,
       refunded_cents, currency, card_last4, reason, created_at
FROM authorizations ORDER BY authorization_id;

-- name: ledger
SELECT entry_id, authorization_id::text, reference, kind, amount_cents, idempotency_key, at
FROM ledger ORDER BY entry_id;
