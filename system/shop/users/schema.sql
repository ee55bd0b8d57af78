CREATE TABLE IF NOT EXISTS users (
    user_id       text PRIMARY KEY,
    email         text NOT NULL UNIQUE CHECK (email = lower(email)),
    name          text NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL
);

-- One row per login. Only the digest of the newest refresh token is stored. Using an older one ends the session.
CREATE TABLE IF NOT EXISTS sessions (
    session_id   text PRIMARY KEY,
    user_id      text NOT NULL REFERENCES users ON DELETE CASCADE,
    token_digest bytea NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_of_user ON sessions (user_id);

-- Shared by all instances. Only the users service reads the private keys.
CREATE TABLE IF NOT EXISTS signing_keys (
    kid        text PRIMARY KEY,
    secret     bytea NOT NULL,
    signs_from timestamptz NOT NULL
);

-- Sessions whose tokens every service must refuse, until they are announced. A trigger: a session can also end with its user,
-- or because its refresh token was used twice.
CREATE TABLE IF NOT EXISTS ended_sessions (session_id text PRIMARY KEY);
CREATE OR REPLACE FUNCTION keep_ended_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ended_sessions (session_id) VALUES (OLD.session_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER session_ended AFTER DELETE ON sessions
    FOR EACH ROW WHEN (OLD.expires_at > now()) EXECUTE FUNCTION keep_ended_session();
