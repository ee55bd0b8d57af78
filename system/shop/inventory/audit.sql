-- name: stock
SELECT sku, initial, on_hand, reserved, shipped, version FROM stock ORDER BY sku;

-- name: reservations
SELECT order_id::text, sku, quantity, status, expires_at, updated_at
FROM reservations JOIN reservation_lines USING (order_id) ORDER BY order_id, sku;
