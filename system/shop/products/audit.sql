-- name: products
SELECT id, price_cents, currency, version FROM products ORDER BY id;
