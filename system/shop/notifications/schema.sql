CREATE TABLE IF NOT EXISTS mails (
    notification_id uuid PRIMARY KEY,
    event_id text NOT NULL UNIQUE,  -- one mail per event, even if the inbox handles it twice
    user_id text NOT NULL,
    order_id uuid,
    kind text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
    message_id text NOT NULL,
    recipient text NOT NULL,
    subject text NOT NULL,
    body_text text NOT NULL,
    body_html text NOT NULL,
    traceparent text NOT NULL,
    refusals int NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    due_at timestamptz NOT NULL,  -- not tried before; a claim moves it to a later time
    created_at timestamptz NOT NULL,
    sent_at timestamptz
);
CREATE INDEX IF NOT EXISTS mails_due ON mails (due_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS mails_order ON mails (order_id);
