-- name: payments
SELECT payment_id::text, order_id::text, status, amount_cents, captured_cents, refunded_cents,
       authorization_id, updated_at
FROM payments ORDER BY payment_id;

-- name: operations
SELECT order_id::text, kind, key, status, at FROM operations ORDER BY operation_id;
