CREATE TABLE IF NOT EXISTS authorizations (
    authorization_id uuid PRIMARY KEY,
    reference text NOT NULL,
    idempotency_key text NOT NULL UNIQUE,
    status text NOT NULL CHECK (status IN ('authorized', 'declined', 'captured', 'voided', 'refunded')),
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    captured_cents bigint NOT NULL DEFAULT 0,
    refunded_cents bigint NOT NULL DEFAULT 0 CHECK (refunded_cents <= captured_cents),
    currency text NOT NULL,
    card_last4 text NOT NULL,  -- the bank stores only these digits of the number
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS authorizations_reference ON authorizations (reference);

CREATE TABLE IF NOT EXISTS ledger (
    entry_id bigserial PRIMARY KEY,
    authorization_id uuid NOT NULL REFERENCES authorizations,
    reference text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('authorize', 'capture', 'void', 'refund')),
    amount_cents bigint NOT NULL,
    idempotency_key text NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (authorization_id, idempotency_key)
);

-- an entry is never changed or deleted
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;
CREATE OR REPLACE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- one row per reference: its authorizations and its cancellation wait for each other here
CREATE TABLE IF NOT EXISTS purchases (
    reference text PRIMARY KEY,
    cancelled_at timestamptz
);
