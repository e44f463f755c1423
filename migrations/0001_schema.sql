-- Tiers, clients and their secrets, and the ledger of issued tokens. Needs PostgreSQL 14 or newer.

-- Whether every item has 1 to `longest` characters, all printable ASCII except space, " and \:
-- valid in a scope (RFC 6749 3.3), and never escaped in JSON or when the items are joined by
-- spaces.
CREATE FUNCTION are_tokens(items text[], longest integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN (SELECT coalesce(bool_and(item IS NOT NULL AND item ~ '^[!#-\[\]-~]+$'
                                     AND octet_length(item) <= longest), true)
            FROM unnest(items) AS item);

CREATE TABLE tiers (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    per_minute bigint CHECK (per_minute BETWEEN 1 AND 1000000000000),
    per_hour   bigint CHECK (per_hour BETWEEN 1 AND 1000000000000),
    per_month  bigint CHECK (per_month BETWEEN 1 AND 1000000000000)
);

COMMENT ON TABLE tiers IS 'How many tokens a client of the tier may have; NULL is unlimited';
COMMENT ON COLUMN tiers.per_month IS 'Per calendar month, UTC';

INSERT INTO tiers (name, per_minute, per_hour, per_month) VALUES
    ('free', 20, 200, 5000),
    ('starter', 100, 2000, 50000),
    ('pro', 500, 10000, 500000),
    ('business', 2000, 50000, 5000000),
    ('unlimited', NULL, NULL, NULL);

CREATE TABLE clients (
    client_id  text PRIMARY KEY CHECK (client_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200
                                    AND name !~ '[\u0001-\u001f\u007f]'),
    tier       text NOT NULL DEFAULT 'free'
               REFERENCES tiers (name) ON UPDATE CASCADE ON DELETE RESTRICT,
    scopes     text[] NOT NULL DEFAULT '{}'
               CHECK (are_tokens(scopes, 4096)
                      AND octet_length(array_to_string(scopes, ' ')) <= 4096),
    audiences  text[] NOT NULL DEFAULT '{}'
               CHECK (are_tokens(audiences, 512) AND cardinality(audiences) <= 16),
    token_ttl  integer CHECK (token_ttl BETWEEN 1 AND 86400),
    enabled    boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- For `client list --tier`, and to check that no client uses a tier before it is deleted.
CREATE INDEX clients_tier ON clients (tier);

COMMENT ON COLUMN clients.scopes IS 'All that it may ask for, and what it gets when it asks for nothing';
COMMENT ON COLUMN clients.audiences IS 'The resources it may ask tokens for; none: the issuer';
COMMENT ON COLUMN clients.token_ttl IS 'Seconds; NULL is the default of the server';
COMMENT ON COLUMN clients.updated_at IS 'Set by a trigger';

CREATE FUNCTION set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER clients_updated_at BEFORE UPDATE ON clients
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE client_secrets (
    client_id  text NOT NULL REFERENCES clients ON UPDATE CASCADE ON DELETE CASCADE,
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    PRIMARY KEY (client_id, digest)
);

COMMENT ON COLUMN client_secrets.digest IS 'SHA-256 of the secret, which is stored nowhere';
COMMENT ON COLUMN client_secrets.expires_at IS 'Refused from then on; NULL is never';

-- No foreign keys: the record of a token outlives its client, and COPY loads records at a rate
-- where each check would be noticeable. No unique index on jti: the primary key of flushed_batches
-- already ensures that every row is loaded exactly once, and the index would be most of the cost of
-- loading.
CREATE TABLE issued_tokens (
    jti        uuid NOT NULL,
    client_id  text NOT NULL,
    tier       text NOT NULL,
    scope      text NOT NULL,
    audience   text NOT NULL,
    kid        text NOT NULL,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
) PARTITION BY RANGE (issued_at);

CREATE TABLE issued_tokens_default PARTITION OF issued_tokens DEFAULT;

CREATE INDEX issued_tokens_client ON issued_tokens (client_id, issued_at);
CREATE INDEX issued_tokens_issued_at ON issued_tokens USING brin (issued_at);

COMMENT ON TABLE issued_tokens IS 'One row for every token that a client was answered with';
COMMENT ON COLUMN issued_tokens.scope IS 'As in the token, separated by spaces; empty: none';
COMMENT ON COLUMN issued_tokens.audience IS 'As in the token, separated by spaces';
COMMENT ON COLUMN issued_tokens.issued_at IS 'The millisecond inside the jti, a UUID of version 7';

CREATE TABLE flushed_batches (
    batch_id   uuid PRIMARY KEY,
    rows       integer NOT NULL,
    flushed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX flushed_batches_flushed_at ON flushed_batches (flushed_at);

COMMENT ON TABLE flushed_batches IS
    'Batches that were recorded lately: one that is sent again fails on this key';
