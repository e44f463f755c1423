-- Works since 4
--
-- Organizations hold clients; clients gain static claims, labels, the audiences whose tokens they
-- may ask about, and a time before which their tokens are inactive; tiers gain a token lifetime;
-- records of tokens gain the organization and the credential. Tables that people change get a
-- version.

-- Raised by a trigger whenever a column changes.
ALTER TABLE tiers ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE clients ADD COLUMN version bigint NOT NULL DEFAULT 1;

ALTER TABLE tiers ADD COLUMN token_ttl integer CHECK (token_ttl BETWEEN 1 AND 86400);

COMMENT ON COLUMN tiers.token_ttl IS
    'Seconds, for clients that have none of their own; NULL is the default of the server';

CREATE TABLE organizations (
    organization_id text PRIMARY KEY CHECK (organization_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    name            text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200
                                         AND name !~ '[\u0001-\u001f\u007f]'),
    tier            text NOT NULL DEFAULT 'unlimited'
                    REFERENCES tiers (name) ON UPDATE CASCADE ON DELETE RESTRICT,
    enabled         boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    version         bigint NOT NULL DEFAULT 1
);

-- To check that no organization uses a tier before it is deleted.
CREATE INDEX organizations_tier ON organizations (tier);

COMMENT ON TABLE organizations IS 'Holders of clients';
COMMENT ON COLUMN organizations.enabled IS 'While false, none of its clients gets anything';

-- Whether `claims` may be added to the tokens of a client: a JSON object of at most 2 KiB without
-- the claims that the server sets.
CREATE FUNCTION are_static_claims(claims jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN jsonb_typeof(claims) = 'object' AND octet_length(claims::text) <= 2048
           AND NOT claims ?| ARRAY['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id',
                                   'scope', 'cnf', 'act'];

-- At most 16 labels, each a name with 1 to 200 characters.
CREATE FUNCTION are_labels(labels jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN jsonb_typeof(labels) = 'object' THEN
        (SELECT count(*) <= 16
                AND coalesce(bool_and(name ~ '^[a-z0-9._-]{1,63}$' AND jsonb_typeof(value) = 'string'
                                      AND char_length(value #>> '{}') BETWEEN 1 AND 200
                                      AND value #>> '{}' !~ '[\u0001-\u001f\u007f]'), true)
         FROM jsonb_each(labels) AS label (name, value))
        ELSE false END;

ALTER TABLE clients
    ADD COLUMN organization text
        REFERENCES organizations ON UPDATE CASCADE ON DELETE RESTRICT,
    ADD COLUMN claims jsonb NOT NULL DEFAULT '{}' CHECK (are_static_claims(claims)),
    ADD COLUMN introspect text[] NOT NULL DEFAULT '{}'
        CHECK (are_tokens(introspect, 512) AND cardinality(introspect) <= 16
               AND (cardinality(introspect) = 1 OR '*' <> ALL (introspect))),
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}' CHECK (are_labels(labels)),
    ADD COLUMN tokens_valid_from timestamptz CHECK (isfinite(tokens_valid_from));

CREATE INDEX clients_organization ON clients (organization) WHERE organization IS NOT NULL;

COMMENT ON COLUMN clients.claims IS 'Added to each of its tokens';
COMMENT ON COLUMN clients.introspect IS
    'Audiences whose tokens it may ask about at /introspect; * is all; its own it always may';
COMMENT ON COLUMN clients.labels IS 'For people and their tools';
COMMENT ON COLUMN clients.tokens_valid_from IS
    'Its tokens whose jti is from before then are inactive; NULL: none is';

-- A client may be made under the id of one that was deleted. The tokens of that one must not become
-- active again, though some may not be recorded yet.
CREATE TABLE deleted_clients (
    client_id  text PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE deleted_clients IS
    'Ids that clients have had in the last days, when the tokens may still live; * is all';

CREATE FUNCTION note_deleted_client() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
BEGIN
    INSERT INTO deleted_clients (client_id)
    VALUES (CASE WHEN TG_OP = 'TRUNCATE' THEN '*' ELSE OLD.client_id END)
    ON CONFLICT (client_id) DO UPDATE SET deleted_at = excluded.deleted_at;
    RETURN NULL;
END
$$;

-- After the insert, which may have waited for the transaction that deleted the other one.
CREATE FUNCTION distrust_earlier_tokens() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
BEGIN
    IF EXISTS (SELECT FROM deleted_clients WHERE client_id IN (NEW.client_id, '*')
               AND deleted_at > now() - interval '2 days') THEN
        UPDATE clients
        SET tokens_valid_from = greatest(tokens_valid_from, interval '1 millisecond'
                                         + date_trunc('milliseconds', clock_timestamp()))
        WHERE client_id = NEW.client_id;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER clients_deleted AFTER DELETE ON clients
    FOR EACH ROW EXECUTE FUNCTION note_deleted_client();
CREATE TRIGGER clients_renamed AFTER UPDATE OF client_id ON clients
    FOR EACH ROW WHEN (NEW.client_id <> OLD.client_id) EXECUTE FUNCTION note_deleted_client();
CREATE TRIGGER clients_all_deleted AFTER TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION note_deleted_client();
CREATE TRIGGER clients_made AFTER INSERT ON clients
    FOR EACH ROW EXECUTE FUNCTION distrust_earlier_tokens();
CREATE TRIGGER clients_given_an_id AFTER UPDATE OF client_id ON clients
    FOR EACH ROW WHEN (NEW.client_id <> OLD.client_id) EXECUTE FUNCTION distrust_earlier_tokens();

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION note_deleted_client() SET search_path = %I, pg_temp',
                   current_schema());
    EXECUTE format('ALTER FUNCTION distrust_earlier_tokens() SET search_path = %I, pg_temp',
                   current_schema());
END
$$;
REVOKE ALL ON FUNCTION note_deleted_client(), distrust_earlier_tokens() FROM PUBLIC;

-- A constant default, so no row is rewritten.
ALTER TABLE issued_tokens
    ADD COLUMN organization text NOT NULL DEFAULT '',
    ADD COLUMN credential text NOT NULL DEFAULT '';

COMMENT ON COLUMN issued_tokens.organization IS 'Of the client, when it was issued; empty: none';
COMMENT ON COLUMN issued_tokens.credential IS
    'Id of the secret that was used; empty: not recorded';

-- The body of 0002 again: its * stands for the columns of that time.
CREATE OR REPLACE FUNCTION issued_token(jti uuid) RETURNS SETOF issued_tokens
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT * FROM issued_tokens
        WHERE issued_tokens.jti = issued_token.jti
          AND issued_tokens.issued_at = uuid_v7_time(issued_token.jti);
    END;

CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := now();
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION raise_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER tiers_version BEFORE UPDATE ON tiers
    FOR EACH ROW EXECUTE FUNCTION raise_version();
CREATE TRIGGER organizations_updated_at BEFORE UPDATE ON organizations
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- Counts the changes that this transaction has notified on a channel. True for the first 50; the
-- next one notifies * for all, and the others nothing. Rolling back to a savepoint undoes its
-- notifications and its part of the count.
CREATE FUNCTION may_notify(channel text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    counter text := 'jotd.told_' || channel;
    told    integer := coalesce(nullif(current_setting(counter, true), ''), '0')::integer;
BEGIN
    IF told > 50 THEN
        RETURN false;
    END IF;
    PERFORM set_config(counter, (told + 1)::text, true);
    IF told = 50 THEN
        PERFORM pg_notify(channel, '*');
    END IF;
    RETURN told < 50;
END
$$;

-- Tells servers which organizations have changed, as for clients.
CREATE FUNCTION notify_changed_organization() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW IS DISTINCT FROM OLD AND may_notify('jotd_organization') THEN
        PERFORM pg_notify('jotd_organization', OLD.organization_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION notify_all_organizations() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('jotd_organization', '*');
    RETURN NULL;
END
$$;

-- One that is inserted or deleted holds no clients, so nothing is cached with it.
CREATE TRIGGER organizations_changed AFTER UPDATE ON organizations
    FOR EACH ROW EXECUTE FUNCTION notify_changed_organization();
CREATE TRIGGER organizations_truncated AFTER TRUNCATE ON organizations
    FOR EACH STATEMENT EXECUTE FUNCTION notify_all_organizations();

ALTER TABLE organizations ENABLE ALWAYS TRIGGER organizations_changed;
ALTER TABLE organizations ENABLE ALWAYS TRIGGER organizations_truncated;
