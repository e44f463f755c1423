-- Works since 4
--
-- Every change is notified, row by row, including those that arrive by logical replication, which
-- fires no statement triggers, or under session_replication_role = replica; neither fires ordinary
-- (origin) triggers. An UPDATE that leaves a row unchanged sends nothing.

DROP TRIGGER clients_inserted ON clients;
DROP TRIGGER clients_updated ON clients;
DROP TRIGGER clients_deleted ON clients;
DROP TRIGGER client_secrets_inserted ON client_secrets;
DROP TRIGGER client_secrets_updated ON client_secrets;
DROP TRIGGER client_secrets_deleted ON client_secrets;
DROP TRIGGER tiers_changed ON tiers;
DROP FUNCTION notify_changed_clients();

-- Notifies of up to 50 rows in a transaction, then sends one * for all; jotd.clients_told counts
-- them. The count is local to the transaction; rolling back to a savepoint undoes its notifications
-- and its part of the count.
CREATE FUNCTION notify_changed_client() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    told integer := coalesce(nullif(current_setting('jotd.clients_told', true), ''), '0')::integer;
    id   text;
BEGIN
    IF told > 50 OR (TG_OP = 'UPDATE' AND NEW IS NOT DISTINCT FROM OLD) THEN
        RETURN NULL;
    END IF;
    IF told = 50 THEN
        PERFORM pg_notify('jotd_client', '*');
    ELSE
        FOREACH id IN ARRAY CASE TG_OP
            WHEN 'INSERT' THEN ARRAY[NEW.client_id]
            WHEN 'DELETE' THEN ARRAY[OLD.client_id]
            WHEN 'UPDATE' THEN ARRAY[OLD.client_id, NEW.client_id]
        END LOOP
            PERFORM pg_notify('jotd_client', id);
        END LOOP;
    END IF;
    PERFORM set_config('jotd.clients_told', (told + 1)::text, true);
    RETURN NULL;
END
$$;

CREATE TRIGGER clients_changed AFTER INSERT OR UPDATE OR DELETE ON clients
    FOR EACH ROW EXECUTE FUNCTION notify_changed_client();
CREATE TRIGGER client_secrets_changed AFTER INSERT OR UPDATE OR DELETE ON client_secrets
    FOR EACH ROW EXECUTE FUNCTION notify_changed_client();
CREATE TRIGGER tiers_changed AFTER UPDATE ON tiers
    FOR EACH ROW WHEN (NEW IS DISTINCT FROM OLD) EXECUTE FUNCTION notify_all_clients();

ALTER TABLE clients ENABLE ALWAYS TRIGGER clients_changed;
ALTER TABLE clients ENABLE ALWAYS TRIGGER clients_truncated;
ALTER TABLE client_secrets ENABLE ALWAYS TRIGGER client_secrets_changed;
ALTER TABLE client_secrets ENABLE ALWAYS TRIGGER client_secrets_truncated;
ALTER TABLE tiers ENABLE ALWAYS TRIGGER tiers_changed;

CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;

-- In a publication of all tables, as for change capture or an upgrade, rows of a table without
-- replica identity cannot be deleted. (0002 does this too, for databases published before their
-- first migration.)
ALTER TABLE issued_tokens_default REPLICA IDENTITY FULL;
