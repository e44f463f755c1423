-- Works since 4
--
-- Administration: who changed what (audit_log), which objects a set of `jotd apply` has made
-- (applied_objects), answers to repeated requests (idempotency_keys), and the running servers
-- (instances).

-- An object that is made again under its id must not have a version that the earlier one had, so
-- versions start at the microsecond of the making. JSON carries them exactly until 2255.
CREATE FUNCTION first_version() RETURNS bigint
    LANGUAGE sql VOLATILE
    RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

ALTER TABLE tiers ALTER COLUMN version SET DEFAULT first_version();
ALTER TABLE clients ALTER COLUMN version SET DEFAULT first_version();
ALTER TABLE organizations ALTER COLUMN version SET DEFAULT first_version();

-- The checks of arrays take one dimension, as everything that reads them does.
ALTER TABLE clients ADD CONSTRAINT clients_arrays_check
    CHECK (coalesce(array_ndims(scopes), 1) = 1 AND coalesce(array_ndims(audiences), 1) = 1
           AND coalesce(array_ndims(introspect), 1) = 1) NOT VALID;

-- To find clients by a label, and by a part of their id or name: by all threes of characters that
-- occur in a text.
CREATE INDEX clients_labels ON clients USING gin (labels jsonb_path_ops);

CREATE FUNCTION threes(text text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT DISTINCT substr(lower(text), i, 3)
                 FROM generate_series(1, char_length(text) - 2) AS i);

CREATE INDEX clients_threes ON clients USING gin (threes(client_id || ' ' || name));

CREATE TABLE audit_log (
    audit_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    "session_user" text NOT NULL DEFAULT SESSION_USER,
    actor        text NOT NULL DEFAULT '',
    request_id   text NOT NULL DEFAULT '',
    object       text NOT NULL,
    object_id    text NOT NULL,
    action       text NOT NULL,
    before       jsonb,
    after        jsonb
);

CREATE INDEX audit_log_object ON audit_log (object, object_id, audit_id);
CREATE INDEX audit_log_at ON audit_log (at);

COMMENT ON TABLE audit_log IS 'Every change of a table that governs, by whatever means';
COMMENT ON COLUMN audit_log.session_user IS
    'The role that was logged in. SQL needs audit_log.session_user: session_user alone is one''s own';
COMMENT ON COLUMN audit_log.actor IS
    'Who asked, as jotd says it: a client of the admin API, or the user of a command';
COMMENT ON COLUMN audit_log.object IS 'client, secret, tier or organization';
COMMENT ON COLUMN audit_log.action IS 'create, update, delete or truncate';
COMMENT ON COLUMN audit_log.before IS 'The row, without the digest of a secret';

-- Rows that arrive by logical replication, which brings no position of the sequence, bring the
-- numbers of another database, where they would be in the way of those made here.
CREATE FUNCTION number_audit_row() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
BEGIN
    NEW.audit_id := nextval(pg_get_serial_sequence('audit_log', 'audit_id'));
    RETURN NEW;
END
$$;

CREATE TRIGGER audit_log_number BEFORE INSERT ON audit_log
    FOR EACH ROW EXECUTE FUNCTION number_audit_row();
ALTER TABLE audit_log ENABLE REPLICA TRIGGER audit_log_number;

-- Whether this session may say on whose behalf it acts: that of the server or of the administrator,
-- or the owner where one role does it all.
CREATE FUNCTION actor_is_believed() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN SESSION_USER IN ('jotd_server', 'jotd_admin')
           OR (SESSION_USER <> 'jotd_owner'
               AND SESSION_USER = (SELECT pg_get_userbyid(relowner) FROM pg_class
                                   WHERE oid = 'audit_log'::regclass));

CREATE FUNCTION said_actor() RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN actor_is_believed()
                THEN left(coalesce(current_setting('jotd.actor', true), ''), 200) ELSE '' END;

CREATE FUNCTION said_request_id() RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN actor_is_believed()
                THEN left(coalesce(current_setting('jotd.request_id', true), ''), 200) ELSE '' END;

-- The arguments of its triggers: the object, and the columns of its id. What is given another id is
-- found under the new one, with the former in `before`.
CREATE FUNCTION audit_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
DECLARE
    row_before jsonb := CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN to_jsonb(OLD) - 'digest' END;
    row_after  jsonb := CASE WHEN TG_OP IN ('INSERT', 'UPDATE') THEN to_jsonb(NEW) - 'digest' END;
    its_id     text := '*';
BEGIN
    IF TG_OP = 'UPDATE' AND OLD IS NOT DISTINCT FROM NEW THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'TRUNCATE' THEN
        its_id := coalesce(row_after, row_before) ->> TG_ARGV[1];
    END IF;
    IF TG_OP <> 'TRUNCATE' AND TG_NARGS > 2 THEN
        its_id := its_id || '/' || (coalesce(row_after, row_before) ->> TG_ARGV[2]);
    END IF;
    INSERT INTO audit_log (actor, request_id, object, object_id, action, before, after)
    VALUES (said_actor(), said_request_id(), TG_ARGV[0], its_id,
            CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE lower(TG_OP) END, row_before, row_after);
    RETURN NULL;
END
$$;

CREATE TRIGGER clients_audit AFTER INSERT OR UPDATE OR DELETE ON clients
    FOR EACH ROW EXECUTE FUNCTION audit_change('client', 'client_id');
CREATE TRIGGER clients_audit_truncate AFTER TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change('client');
CREATE TRIGGER client_secrets_audit AFTER INSERT OR UPDATE OR DELETE ON client_secrets
    FOR EACH ROW EXECUTE FUNCTION audit_change('secret', 'client_id', 'secret_id');
CREATE TRIGGER client_secrets_audit_truncate AFTER TRUNCATE ON client_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change('secret');
CREATE TRIGGER tiers_audit AFTER INSERT OR UPDATE OR DELETE ON tiers
    FOR EACH ROW EXECUTE FUNCTION audit_change('tier', 'name');
CREATE TRIGGER tiers_audit_truncate AFTER TRUNCATE ON tiers
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change('tier');
CREATE TRIGGER organizations_audit AFTER INSERT OR UPDATE OR DELETE ON organizations
    FOR EACH ROW EXECUTE FUNCTION audit_change('organization', 'organization_id');
CREATE TRIGGER organizations_audit_truncate AFTER TRUNCATE ON organizations
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change('organization');

ALTER TABLE clients ENABLE ALWAYS TRIGGER clients_audit;
ALTER TABLE clients ENABLE ALWAYS TRIGGER clients_audit_truncate;
ALTER TABLE client_secrets ENABLE ALWAYS TRIGGER client_secrets_audit;
ALTER TABLE client_secrets ENABLE ALWAYS TRIGGER client_secrets_audit_truncate;
ALTER TABLE tiers ENABLE ALWAYS TRIGGER tiers_audit;
ALTER TABLE tiers ENABLE ALWAYS TRIGGER tiers_audit_truncate;
ALTER TABLE organizations ENABLE ALWAYS TRIGGER organizations_audit;
ALTER TABLE organizations ENABLE ALWAYS TRIGGER organizations_audit_truncate;

-- A revocation's row is its own record.
ALTER TABLE revoked_tokens
    ADD COLUMN actor text NOT NULL DEFAULT '',
    ADD COLUMN request_id text NOT NULL DEFAULT '';
ALTER TABLE revoked_tokens
    ALTER COLUMN actor SET DEFAULT said_actor(),
    ALTER COLUMN request_id SET DEFAULT said_request_id();
COMMENT ON COLUMN revoked_tokens.actor IS 'Who revoked it; empty: its client, or unknown';

CREATE TABLE applied_objects (
    object    text NOT NULL,
    object_id text NOT NULL,
    set_name  text NOT NULL CHECK (set_name ~ '^[A-Za-z0-9._-]{1,64}$'),
    made_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (object, object_id)
);

CREATE INDEX applied_objects_set ON applied_objects (set_name, object);

COMMENT ON TABLE applied_objects IS
    'Which set of `jotd apply` has made an object, and may prune it';

-- What is deleted, by whatever means, and made again, no set has made.
CREATE FUNCTION forget_applied() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM applied_objects WHERE object = TG_ARGV[0];
    ELSE
        DELETE FROM applied_objects
        WHERE object = TG_ARGV[0] AND object_id = to_jsonb(OLD) ->> TG_ARGV[1];
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER clients_forget_applied AFTER DELETE OR UPDATE OF client_id ON clients
    FOR EACH ROW EXECUTE FUNCTION forget_applied('client', 'client_id');
CREATE TRIGGER clients_forget_all_applied AFTER TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION forget_applied('client');
CREATE TRIGGER tiers_forget_applied AFTER DELETE OR UPDATE OF name ON tiers
    FOR EACH ROW EXECUTE FUNCTION forget_applied('tier', 'name');
CREATE TRIGGER tiers_forget_all_applied AFTER TRUNCATE ON tiers
    FOR EACH STATEMENT EXECUTE FUNCTION forget_applied('tier');
CREATE TRIGGER organizations_forget_applied AFTER DELETE OR UPDATE OF organization_id
    ON organizations
    FOR EACH ROW EXECUTE FUNCTION forget_applied('organization', 'organization_id');
CREATE TRIGGER organizations_forget_all_applied AFTER TRUNCATE ON organizations
    FOR EACH STATEMENT EXECUTE FUNCTION forget_applied('organization');

-- The answer to a POST, for those who must repeat it because they did not get it.
CREATE TABLE idempotency_keys (
    caller   text NOT NULL,
    key      text NOT NULL,
    request  bytea NOT NULL,
    status   integer NOT NULL DEFAULT 0,
    location text NOT NULL DEFAULT '',
    body     text NOT NULL DEFAULT '',
    made_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);

CREATE INDEX idempotency_keys_made_at ON idempotency_keys (made_at);

COMMENT ON TABLE idempotency_keys IS 'Requests of the admin API of the last 24 hours';
COMMENT ON COLUMN idempotency_keys.request IS 'SHA-256 of the method, the path and the body';
COMMENT ON COLUMN idempotency_keys.body IS 'Of the answer, without secrets';

CREATE TABLE instances (
    instance_id       uuid PRIMARY KEY,
    host              text NOT NULL,
    version           text NOT NULL,
    started_at        timestamptz NOT NULL,
    seen_at           timestamptz NOT NULL DEFAULT now(),
    pending_rows      bigint NOT NULL,
    oldest_pending_at timestamptz,
    keys_digest       text NOT NULL
);

COMMENT ON TABLE instances IS 'Running servers, each of which writes its row every 10 seconds';
COMMENT ON COLUMN instances.pending_rows IS 'Of the ledger, that wait in its spool';
COMMENT ON COLUMN instances.keys_digest IS
    'Of its signing keys: instances that differ do not have the same ones';

-- Notes that a server lives, and forgets servers that were not seen for a day; for 40 days those
-- that had rows to send. Servers that forget the same ones do not wait for each other.
CREATE FUNCTION note_instance(id uuid, its_host text, its_version text, its_start timestamptz,
                              pending bigint, oldest timestamptz, keys text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET lock_timeout = '100ms'
    BEGIN ATOMIC
        INSERT INTO instances (instance_id, host, version, started_at, pending_rows,
                               oldest_pending_at, keys_digest)
        VALUES (id, its_host, its_version, its_start, pending, oldest, keys)
        ON CONFLICT (instance_id) DO UPDATE
        SET seen_at = now(), pending_rows = excluded.pending_rows,
            oldest_pending_at = excluded.oldest_pending_at, keys_digest = excluded.keys_digest;
        DELETE FROM instances WHERE instance_id IN (
            SELECT instance_id FROM instances
            WHERE seen_at < now() - interval '1 day'
              AND (pending_rows = 0 OR seen_at < now() - interval '40 days')
            FOR UPDATE SKIP LOCKED);
    END;

-- Removes audit rows older than this month and the `keep_months` before it, up to `at_most`, and
-- returns how many. Nobody who may call it can remove what is newer than a month.
CREATE FUNCTION forget_audit(keep_months integer, at_most bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET timezone = 'UTC'
    AS $$
DECLARE
    forgotten bigint;
BEGIN
    IF keep_months IS NULL OR keep_months < 1 THEN
        RAISE 'the audit log is kept for at least a month'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WITH gone AS (
        DELETE FROM audit_log WHERE audit_id = ANY (ARRAY(
            SELECT audit_id FROM audit_log
            WHERE at < date_trunc('month', now() - keep_months * interval '1 month')
            ORDER BY at LIMIT at_most))
        RETURNING 1
    )
    SELECT count(*) INTO forgotten FROM gone;
    RETURN forgotten;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['audit_change()', 'number_audit_row()', 'forget_applied()',
                                'actor_is_believed()', 'said_actor()', 'said_request_id()',
                                'forget_audit(integer, bigint)',
                                'note_instance(uuid, text, text, timestamptz, bigint, timestamptz, '
                                'text)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION audit_change(), number_audit_row(), forget_applied(),
    forget_audit(integer, bigint),
    note_instance(uuid, text, text, timestamptz, bigint, timestamptz, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION grant_to_roles() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    owner CONSTANT oid := (SELECT relowner FROM pg_class WHERE oid = 'schema_migrations'::regclass);
    roles CONSTANT text := (SELECT string_agg(quote_ident(rolname), ', ') FROM pg_roles
                            WHERE rolname IN ('jotd_server', 'jotd_admin', 'jotd_reader'));
    item  text;
BEGIN
    IF to_regrole('jotd_server') IS NULL OR to_regrole('jotd_reader') IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(1785689188);
    FOR item IN
        SELECT 'TABLE ' || oid::regclass || ' FROM ' || roles FROM pg_class
        WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relowner = owner
          AND relkind IN ('r', 'p')
        UNION ALL
        SELECT 'FUNCTION ' || oid::regprocedure || ' FROM PUBLIC, ' || roles
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
        may_notify(text), said_actor(), said_request_id(), actor_is_believed(),
        note_instance(uuid, text, text, timestamptz, bigint, timestamptz, text) TO jotd_server;

    -- Reads everything except the digests of secrets and what the API answered. Monthly partitions
    -- are read through issued_tokens.
    GRANT SELECT ON schema_migrations, tiers, organizations, clients, issued_tokens,
        issued_tokens_default, flushed_batches, ledger_state, revoked_tokens, deleted_clients,
        audit_log, applied_objects, instances TO jotd_reader;
    GRANT SELECT (client_id, secret_id, created_at, expires_at) ON client_secrets TO jotd_reader;
    GRANT EXECUTE ON FUNCTION issued_token(uuid), uuid_v7_time(uuid) TO jotd_reader;

    -- Changes what governs; the audit log is written by triggers alone.
    IF to_regrole('jotd_admin') IS NULL THEN
        RETURN;
    END IF;
    GRANT SELECT ON schema_migrations, tiers, organizations, clients, client_secrets,
        issued_tokens, issued_tokens_default, flushed_batches, ledger_state, revoked_tokens,
        deleted_clients, audit_log, applied_objects, instances, idempotency_keys TO jotd_admin;
    GRANT INSERT, UPDATE, DELETE ON tiers, organizations, clients, client_secrets TO jotd_admin;
    GRANT INSERT, DELETE ON applied_objects TO jotd_admin;
    GRANT INSERT, UPDATE, DELETE ON idempotency_keys TO jotd_admin;
    GRANT INSERT (jti, client_id, expires_at, reason) ON revoked_tokens TO jotd_admin;
    GRANT EXECUTE ON FUNCTION issued_token(uuid), uuid_v7_time(uuid), may_notify(text),
        first_version(), threes(text), are_tokens(text[], integer), are_static_claims(jsonb),
        are_labels(jsonb), said_actor(), said_request_id(), actor_is_believed() TO jotd_admin;
END
$$;
