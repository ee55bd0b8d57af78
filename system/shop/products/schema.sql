CREATE TABLE IF NOT EXISTS products (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    description text NOT NULL,
    category    text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents > 0),
    currency    text NOT NULL DEFAULT 'EUR',
    version     integer NOT NULL DEFAULT 1,
    -- full text rather than trigrams: pg_trgm is not part of every PostgreSQL build the shop runs on
    document    tsvector NOT NULL GENERATED ALWAYS AS (
        to_tsvector('simple', replace(id, '-', ' ') || ' ' || name || ' ' || category || ' ' || description)
    ) STORED
);
CREATE INDEX IF NOT EXISTS products_by_category ON products (category, id);
CREATE INDEX IF NOT EXISTS products_by_word ON products USING gin (document);
