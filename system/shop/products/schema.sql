CREATE TABLE IF NOT EXISTS products (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    description text NOT NULL,
    category    text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents > 0),
    currency    text NOT NULL DEFAULT 'EUR',
    version     integer NOT NULL DEFAULT 1,
    -- full text search, not trigrams: not every supported PostgreSQL build contains pg_trgm
    document    tsvector NOT NULL GENERATED ALWAYS AS (
        to_tsvector('simple', replace(id, '-', ' ') || ' ' || name || ' ' || category || ' ' || description)
    ) STORED
);
CREATE INDEX IF NOT EXISTS products_by_category ON products (category, id);
CREATE INDEX IF NOT EXISTS products_by_word ON products USING gin (document);

-- The public JSON of one product. The services forward it unchanged.
CREATE OR REPLACE FUNCTION public_form(p products) RETURNS text LANGUAGE sql STABLE RETURN json_build_object(
    'id', p.id, 'name', p.name, 'description', p.description, 'category', p.category,
    'price_cents', p.price_cents, 'currency', p.currency, 'version', p.version
)::text;
