-- Works since 4
--
-- Revoked tokens, and how servers hear of them.

CREATE TABLE revoked_tokens (
    jti        uuid PRIMARY KEY,
    client_id  text NOT NULL DEFAULT '',
    expires_at timestamptz NOT NULL CHECK (isfinite(expires_at)),
    revoked_at timestamptz NOT NULL DEFAULT now(),
    reason     text NOT NULL DEFAULT '' CHECK (char_length(reason) <= 200
                                               AND reason !~ '[\u0001-\u001f\u007f]'),
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id()
);

-- To read what is new since a snapshot, in pages.
CREATE INDEX revoked_tokens_xid ON revoked_tokens (xid, jti);
CREATE INDEX revoked_tokens_expires_at ON revoked_tokens (expires_at);

COMMENT ON TABLE revoked_tokens IS
    'Tokens that are inactive before they expire; rows are removed after that';
COMMENT ON COLUMN revoked_tokens.client_id IS 'That the token was issued to; empty: unknown';
COMMENT ON COLUMN revoked_tokens.expires_at IS 'Of the token, or later';
COMMENT ON COLUMN revoked_tokens.xid IS
    'The transaction that made the row, in this database: set by a trigger';

-- Rows that arrive by logical replication bring the transaction id of another database.
CREATE FUNCTION set_xid() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.xid := pg_current_xact_id();
    RETURN NEW;
END
$$;

-- The payload is the jti and, in epoch seconds, the expiry. * asks for everything that is new.
CREATE FUNCTION notify_revoked_token() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF may_notify('jotd_revoked') THEN
        PERFORM pg_notify('jotd_revoked', NEW.jti || ' '
                          || ceil(extract(epoch FROM NEW.expires_at))::bigint);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER revoked_tokens_xid BEFORE INSERT OR UPDATE ON revoked_tokens
    FOR EACH ROW EXECUTE FUNCTION set_xid();
CREATE TRIGGER revoked_tokens_told AFTER INSERT OR UPDATE ON revoked_tokens
    FOR EACH ROW EXECUTE FUNCTION notify_revoked_token();

ALTER TABLE revoked_tokens ENABLE ALWAYS TRIGGER revoked_tokens_xid;
ALTER TABLE revoked_tokens ENABLE ALWAYS TRIGGER revoked_tokens_told;

-- Removes tokens that expired an hour ago or earlier, and returns how many; also the ids of clients
-- whose tokens must have expired.
CREATE FUNCTION forget_revoked_tokens(at_most bigint) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    BEGIN ATOMIC
        DELETE FROM deleted_clients WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM deleted_clients
            WHERE deleted_at < now() - interval '2 days' LIMIT at_most));
        WITH forgotten AS (
            DELETE FROM revoked_tokens WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM revoked_tokens
                WHERE expires_at < now() - interval '1 hour' LIMIT at_most))
            RETURNING 1
        )
        SELECT count(*) FROM forgotten;
    END;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION forget_revoked_tokens(bigint) SET search_path = %I, pg_temp',
                   current_schema());
END
$$;
REVOKE ALL ON FUNCTION forget_revoked_tokens(bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION grant_to_roles() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    owner CONSTANT oid := (SELECT relowner FROM pg_class WHERE oid = 'schema_migrations'::regclass);
    item  text;
BEGIN
    IF to_regrole('jotd_server') IS NULL OR to_regrole('jotd_reader') IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(1785689188);
    FOR item IN
        SELECT 'TABLE ' || oid::regclass || ' FROM jotd_server, jotd_reader' FROM pg_class
        WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relowner = owner
          AND relkind IN ('r', 'p')
        UNION ALL
        SELECT 'FUNCTION ' || oid::regprocedure || ' FROM jotd_server, jotd_reader, PUBLIC'
        FROM pg_proc
        WHERE pronamespace = quote_ident(current_schema())::regnamespace AND proowner = owner
    LOOP
        EXECUTE 'REVOKE ALL ON ' || item;
    END LOOP;

    -- Looks up clients, adds records and revokes tokens; functions do the rest for it.
    GRANT SELECT ON schema_migrations, tiers, client_secrets, revoked_tokens TO jotd_server;
    GRANT SELECT (client_id, tier, scopes, audiences, token_ttl, enabled, organization, claims,
                  introspect, tokens_valid_from) ON clients TO jotd_server;
    GRANT SELECT (organization_id, tier, enabled) ON organizations TO jotd_server;
    GRANT INSERT ON issued_tokens TO jotd_server;
    GRANT INSERT (batch_id, rows), SELECT (batch_id) ON flushed_batches TO jotd_server;
    GRANT INSERT (jti, client_id, expires_at, reason) ON revoked_tokens TO jotd_server;
    GRANT EXECUTE ON FUNCTION active_clients(integer), make_issued_tokens_partitions(),
        ledger_watermark(), forget_flushed_batches(bigint), forget_revoked_tokens(bigint),
        may_notify(text) TO jotd_server;

    -- Reads everything except the digests of secrets. Monthly partitions are read through
    -- issued_tokens.
    GRANT SELECT ON schema_migrations, tiers, organizations, clients, issued_tokens,
        issued_tokens_default, flushed_batches, ledger_state, revoked_tokens, deleted_clients
        TO jotd_reader;
    GRANT SELECT (client_id, secret_id, created_at, expires_at) ON client_secrets TO jotd_reader;
    GRANT EXECUTE ON FUNCTION issued_token(uuid), uuid_v7_time(uuid) TO jotd_reader;
END
$$;
