CREATE TABLE IF NOT EXISTS payments (
    order_id uuid PRIMARY KEY,
    payment_id uuid NOT NULL UNIQUE,
    user_id uuid,  -- null and amount 0: a tombstone; the order was voided before it was authorized
    status text NOT NULL CHECK (status IN ('authorizing', 'authorized', 'declined', 'capturing',
        'captured', 'voiding', 'voided', 'refunding', 'refunded')),
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    currency text NOT NULL,
    captured_cents bigint NOT NULL DEFAULT 0,
    refunded_cents bigint NOT NULL DEFAULT 0,
    authorization_id text,  -- the bank's id
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    checked_at timestamptz  -- when the reconciler last claimed it
);
CREATE INDEX IF NOT EXISTS payments_in_doubt ON payments (updated_at)
    WHERE status IN ('authorizing', 'capturing', 'voiding', 'refunding');

-- every call to the bank, recorded before it is made
CREATE TABLE IF NOT EXISTS operations (
    operation_id bigserial PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES payments,
    kind text NOT NULL CHECK (kind IN ('authorize', 'capture', 'void', 'refund')),
    key text NOT NULL,
    status text NOT NULL CHECK (status IN
        ('asked', 'done', 'declined', 'refused', 'not_sent', 'unknown')),
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS operations_order ON operations (order_id, kind);
