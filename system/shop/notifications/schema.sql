CREATE TABLE IF NOT EXISTS mails (
    notification_id text PRIMARY KEY,
    event_id text NOT NULL UNIQUE,          -- one mail an event, whatever the broker repeats
    kind text NOT NULL,
    recipient text NOT NULL,
    user_id text NOT NULL,
    order_id text NOT NULL,
    subject text NOT NULL,
    text text NOT NULL,
    traceparent text NOT NULL,
    message_id text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz
);
CREATE INDEX IF NOT EXISTS mails_pending ON mails (next_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS mails_of_order ON mails (order_id) WHERE order_id <> '';
