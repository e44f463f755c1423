-- Tells the servers which clients have changed, in the transaction that changes them: listeners on
-- jotd_client get the notification once the change is visible, no matter how it was made. The
-- payload is a client id, or * for all: past 50 clients, on TRUNCATE, and when tiers change.

CREATE FUNCTION notify_changed_clients() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    ids text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        ids := ARRAY(SELECT client_id FROM changed UNION SELECT client_id FROM changed_to LIMIT 51);
    ELSE
        ids := ARRAY(SELECT DISTINCT client_id FROM changed LIMIT 51);
    END IF;
    IF cardinality(ids) > 50 THEN
        PERFORM pg_notify('jotd_client', '*');
    ELSE
        PERFORM pg_notify('jotd_client', id) FROM unnest(ids) AS id;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION notify_all_clients() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('jotd_client', '*');
    RETURN NULL;
END
$$;

CREATE TRIGGER clients_inserted AFTER INSERT ON clients
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notify_changed_clients();
CREATE TRIGGER clients_updated AFTER UPDATE ON clients
    REFERENCING OLD TABLE AS changed NEW TABLE AS changed_to
    FOR EACH STATEMENT EXECUTE FUNCTION notify_changed_clients();
CREATE TRIGGER clients_deleted AFTER DELETE ON clients
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notify_changed_clients();
CREATE TRIGGER clients_truncated AFTER TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION notify_all_clients();

CREATE TRIGGER client_secrets_inserted AFTER INSERT ON client_secrets
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notify_changed_clients();
CREATE TRIGGER client_secrets_updated AFTER UPDATE ON client_secrets
    REFERENCING OLD TABLE AS changed NEW TABLE AS changed_to
    FOR EACH STATEMENT EXECUTE FUNCTION notify_changed_clients();
CREATE TRIGGER client_secrets_deleted AFTER DELETE ON client_secrets
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notify_changed_clients();
CREATE TRIGGER client_secrets_truncated AFTER TRUNCATE ON client_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION notify_all_clients();

CREATE TRIGGER tiers_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tiers
    FOR EACH STATEMENT EXECUTE FUNCTION notify_all_clients();
