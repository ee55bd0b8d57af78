-- name: payments
SELECT payment_id::text, order_id::text, user_id::text, status, amount_cents, currency, captured_cents,
       refunded_cents, authorization_id, reason, created_at, updated_at
FROM payments ORDER BY payment_id;

-- name: operations
SELECT order_id::text, kind, key, status, at FROM operations ORDER BY operation_id;
