-- Monthly partitions of issued_tokens, and how far back flushed_batches goes.

-- Batches older than the watermark are no longer in flushed_batches. Nobody can tell whether an
-- older segment was sent already, so it is set aside.
CREATE TABLE ledger_state (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    watermark timestamptz NOT NULL
);

INSERT INTO ledger_state (watermark) VALUES ('1970-01-01 00:00:00+00');

COMMENT ON COLUMN ledger_state.watermark IS
    'Batches opened before then are forgotten by flushed_batches';

-- Makes the partition of the month (UTC) that contains `moment`, unless it exists. Moves rows of
-- that month from the default partition in the same transaction. Unlike CREATE TABLE ... PARTITION
-- OF, ATTACH PARTITION does not lock out readers or writers of the other months.
CREATE FUNCTION make_issued_tokens_partition(moment timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    SET timezone = 'UTC'
    AS $$
DECLARE
    first_day timestamptz := date_trunc('month', moment);
    last_day  timestamptz := date_trunc('month', moment) + interval '1 month';
    part      text := 'issued_tokens_' || to_char(moment, 'YYYY_MM');
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- The lock of `jotd migrate`: several servers may get here at once.
    PERFORM pg_advisory_xact_lock(1785689188);
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE issued_tokens INCLUDING DEFAULTS)', part);
    LOCK TABLE issued_tokens_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH moved AS (DELETE FROM issued_tokens_default
                                   WHERE issued_at >= %1$L AND issued_at < %2$L RETURNING *)
                    INSERT INTO %3$I SELECT * FROM moved', first_day, last_day, part);
    EXECUTE format('ALTER TABLE issued_tokens ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   part, first_day, last_day);
    RETURN true;
END
$$;

-- Makes the partitions of this month and the next three. Returns how many were missing.
CREATE FUNCTION make_issued_tokens_partitions() RETURNS integer
    LANGUAGE sql
    RETURN (SELECT count(*) FILTER (WHERE make_issued_tokens_partition(
                       now() + months * interval '1 month'))::integer
            FROM generate_series(0, 3) AS months);

-- In a publication of all tables, rows of a table without replica identity cannot be deleted.
ALTER TABLE issued_tokens_default REPLICA IDENTITY FULL;

SELECT make_issued_tokens_partitions();

-- The time inside a UUID of version 7 (RFC 9562 5.7): its first 48 bits are Unix milliseconds.
CREATE FUNCTION uuid_v7_time(id uuid) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_timestamp(('x0000' || left(translate(id::text, '-', ''), 12))::bit(64)::bigint
                        / 1000.0);

-- The token with this jti, from the single partition of its month. The planner inlines the body,
-- which requires LANGUAGE sql and a function that is not STRICT.
CREATE FUNCTION issued_token(jti uuid) RETURNS SETOF issued_tokens
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT * FROM issued_tokens
        WHERE issued_tokens.jti = issued_token.jti
          AND issued_tokens.issued_at = uuid_v7_time(issued_token.jti);
    END;
