-- The clients that were issued tokens most recently, newest first, for a server that starts with an
-- empty cache. Reads only the newest 32 MB of issued_tokens, which is in order of time. That bounds
-- the cost at some 200,000 tokens, whatever the size of the table.
CREATE FUNCTION active_clients(at_most integer)
    RETURNS TABLE (client_id text, issued_at timestamptz)
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    budget bigint := 32 * 1024 * 1024 / current_setting('block_size')::bigint;
    blocks bigint;
    part   regclass;
    newest text;
BEGIN
    -- Months from this one backwards; the default partition's name sorts after theirs.
    FOR part IN
        SELECT c.oid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'issued_tokens'::regclass
          AND c.relname <= 'issued_tokens_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')
        ORDER BY c.relname DESC
    LOOP
        blocks := pg_relation_size(part) / current_setting('block_size')::bigint;
        newest := concat_ws(' UNION ALL ', newest, format(
            'SELECT client_id, issued_at FROM %s WHERE ctid >= ''(%s,0)''',
            part, greatest(blocks - budget, 0)));
        budget := budget - blocks;
        EXIT WHEN budget <= 0;
    END LOOP;
    IF newest IS NOT NULL THEN
        RETURN QUERY EXECUTE 'SELECT client_id, max(issued_at) FROM (' || newest || ') AS newest
                              GROUP BY client_id ORDER BY max(issued_at) DESC LIMIT $1'
            USING at_most;
    END IF;
END
$$;
