-- name: orders
SELECT order_id, user_id, email, status, reason, total_cents, currency, right(card_number, 4) AS card_last4,
       idempotency_key, created_at, updated_at, version
FROM orders ORDER BY order_id;

-- name: lines
SELECT order_id, sku, quantity, price_cents FROM order_lines ORDER BY order_id, sku;

-- name: sagas
SELECT order_id, kind, state, at AS step, direction, attempts, reason, cancel_requested,
       traceparent, updated_at
FROM sagas ORDER BY order_id;

-- name: saga_log
SELECT order_id, seq, step, phase, at FROM saga_log ORDER BY seq;

-- name: outbox
SELECT id, event_id, type, aggregate_id, payload, traceparent, created_at, published_at FROM outbox ORDER BY id;
