-- Works since 4
--
-- Maintenance of the ledger's tables, that is, everything except adding rows, as functions that run
-- as their owner, so that a server that may call them owns nothing. They check their arguments, and
-- their search_path is fixed, since the caller chooses its own.

-- Used before sending a segment that may be too old: the lock keeps the watermark in place until
-- the transaction ends. NULL if the row is missing.
CREATE FUNCTION ledger_watermark() RETURNS timestamptz
    LANGUAGE sql SECURITY DEFINER
    BEGIN ATOMIC
        SELECT watermark FROM ledger_state FOR SHARE;
    END;

-- Advances the watermark to 30 days ago and forgets batches before it; returns how many. Those left
-- beyond `at_most` do no harm: segments older than the watermark are no longer sent.
CREATE FUNCTION forget_flushed_batches(at_most bigint) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET timezone = 'UTC'
    BEGIN ATOMIC
        WITH state AS (
            UPDATE ledger_state
            SET watermark = greatest(watermark, date_trunc('day', now() - interval '30 days'))
            RETURNING watermark
        ), forgotten AS (
            DELETE FROM flushed_batches WHERE ctid = ANY (ARRAY(
                SELECT b.ctid FROM flushed_batches b, state
                WHERE flushed_at < state.watermark LIMIT at_most))
            RETURNING 1
        )
        SELECT count(*) FROM forgotten;
    END;

-- When the month of a partition ends; NULL for the default partition and for any other table.
CREATE FUNCTION issued_tokens_partition_end(part regclass) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET timezone = 'UTC'
    RETURN (SELECT substring(pg_get_expr(c.relpartbound, c.oid)
                             FROM 'TO \(''([^'']+)''\)')::timestamptz
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'issued_tokens'::regclass AND c.oid = part);

-- Drops a month that ended at least a month ago. Rows of it that arrive later go to the default
-- partition.
CREATE FUNCTION drop_issued_tokens_partition(part regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET timezone = 'UTC'
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1785689188); -- as when partitions are made
    IF issued_tokens_partition_end(part) <= date_trunc('month', now() - interval '1 month') THEN
        EXECUTE format('ALTER TABLE issued_tokens DETACH PARTITION %s', part);
        EXECUTE format('DROP TABLE %s', part);
    ELSE
        RAISE '% is no month of issued_tokens that may be dropped: it has to be over for a month',
            part USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

-- These exist already.
ALTER FUNCTION make_issued_tokens_partitions() SECURITY DEFINER;
ALTER FUNCTION active_clients(integer) SECURITY DEFINER;

-- Only the owner, and roles it grants this to, may call them. pg_temp, where anybody may create
-- objects, comes last.
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOREACH function IN ARRAY ARRAY[
        'ledger_watermark()', 'forget_flushed_batches(bigint)', 'make_issued_tokens_partitions()',
        'drop_issued_tokens_partition(regclass)', 'active_clients(integer)']::regprocedure[]
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp',
                       function, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$;

-- Grants the roles of deploy/roles.sql, if they exist, the privileges they need on this schema, and
-- revokes all others from them, and those on functions from PUBLIC. Called at the end of each
-- `jotd migrate`; a migration that changes what they need replaces it.
CREATE FUNCTION grant_to_roles() RETURNS void
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

    -- Looks up clients and adds records; functions do the rest for it.
    GRANT SELECT ON schema_migrations, tiers, client_secrets TO jotd_server;
    GRANT SELECT (client_id, tier, scopes, audiences, token_ttl, enabled) ON clients TO jotd_server;
    GRANT INSERT ON issued_tokens TO jotd_server;
    GRANT INSERT (batch_id, rows), SELECT (batch_id) ON flushed_batches TO jotd_server;
    GRANT EXECUTE ON FUNCTION active_clients(integer), make_issued_tokens_partitions(),
        ledger_watermark(), forget_flushed_batches(bigint) TO jotd_server;

    -- Reads everything except the digests of secrets. Monthly partitions are read through
    -- issued_tokens.
    GRANT SELECT ON schema_migrations, tiers, clients, issued_tokens, issued_tokens_default,
        flushed_batches, ledger_state TO jotd_reader;
    GRANT SELECT (client_id, secret_id, created_at, expires_at) ON client_secrets TO jotd_reader;
    GRANT EXECUTE ON FUNCTION issued_token(uuid), uuid_v7_time(uuid) TO jotd_reader;
END
$$;
