CREATE TABLE IF NOT EXISTS orders (
    order_id text PRIMARY KEY,
    user_id text NOT NULL,
    email text NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    reason text NOT NULL DEFAULT '',
    total_cents bigint NOT NULL,
    currency text NOT NULL,
    card_number text NOT NULL,          -- masked when the order ends
    idempotency_key text NOT NULL,
    dedupe_key text UNIQUE,             -- user and key; null where the lab has switched idempotency off
    fingerprint text NOT NULL,
    answer text,                        -- the first definite answer, repeated for the same key
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version int NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS orders_of_user ON orders (user_id, order_id DESC);
CREATE TABLE IF NOT EXISTS order_lines (
    order_id text NOT NULL REFERENCES orders,
    sku text NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    price_cents bigint NOT NULL,
    PRIMARY KEY (order_id, sku)
);
CREATE TABLE IF NOT EXISTS sagas (
    order_id text PRIMARY KEY REFERENCES orders,
    kind text NOT NULL DEFAULT 'checkout',
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'compensated')),
    at int NOT NULL DEFAULT 0,
    direction text NOT NULL DEFAULT 'forward',
    started boolean NOT NULL DEFAULT false,
    attempts int NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    cancel_requested boolean NOT NULL DEFAULT false,
    owner text NOT NULL,
    lease_until timestamptz NOT NULL,
    next_at timestamptz NOT NULL DEFAULT now(),
    deadline_at timestamptz NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS sagas_running ON sagas (next_at) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS saga_log (
    seq bigserial PRIMARY KEY,
    order_id text NOT NULL,
    step text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('started', 'done', 'failed', 'compensated')),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
