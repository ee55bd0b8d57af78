-- name: products
SELECT id, price_cents, version FROM products ORDER BY id;
