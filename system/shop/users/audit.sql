-- name: users
SELECT user_id, email, created_at FROM users ORDER BY user_id;

-- name: outbox
SELECT id, event_id, type, aggregate_id, payload, created_at, published_at FROM outbox ORDER BY id;
