"""The row by which a running server is known to others."""

import datetime
import hashlib
import signal
import socket
import time
import uuid

from harness import until
from harness.process import run_jotd

COLUMNS = ("id", "host", "version", "started", "seen", "pending", "oldest", "keys")


def instances(database):
    return [dict(zip(COLUMNS, row)) for row in database.execute(
        "SELECT instance_id::text, host, version, started_at, seen_at, pending_rows,"
        " oldest_pending_at, keys_digest FROM instances ORDER BY started_at")]


def wait_for(database, count=1):
    until(lambda: len(instances(database)) == count)
    return instances(database)


def kids_digest(*servers_kids):
    return hashlib.sha256("".join(f"{kid}\n" for kid in sorted(servers_kids)).encode()).hexdigest()


def test_a_server_notes_itself(database, jotd):
    began = datetime.datetime.now(datetime.timezone.utc)
    with jotd(database) as s:
        (row,) = wait_for(database)
        assert uuid.UUID(row["id"]).version == 7
        assert (row["host"], row["pending"], row["oldest"]) == (socket.gethostname(), 0, None)
        assert row["version"] == run_jotd("version").stdout.split()[1]
        assert began - datetime.timedelta(seconds=1) <= row["started"] <= row["seen"]
        assert row["keys"] == kids_digest(*(key["kid"] for key in s.jwks()["keys"]))
        assert not any(line["event"] == "instance.not_noted" for line in s.log)


def test_it_writes_again(database, jotd):
    """Every 10 s, with the keys and the rows that wait by then."""
    client = database.client()
    with jotd(database, batch_rows=1000, batch_interval=600) as s:
        (first,) = wait_for(database)
        s.access_token(client)
        s.create_key()
        until(lambda: instances(database)[0]["seen"] > first["seen"], timeout=20)
        (row,) = instances(database)
        assert (row["id"], row["started"]) == (first["id"], first["started"])
        assert 9 <= (row["seen"] - first["seen"]).total_seconds() <= 15
        assert row["pending"] == 1 and row["oldest"] is not None
        kids = [key["kid"] for key in s.jwks()["keys"]]
        assert len(kids) == 2 and row["keys"] == kids_digest(*kids)
    # The last row tells that nothing was left behind.
    (row,) = instances(database)
    assert (row["id"], row["pending"], row["oldest"]) == (first["id"], 0, None)


def test_two_servers_and_a_killed_one(database, jotd):
    with jotd(database) as one:
        (first,) = wait_for(database)
        with jotd(database) as other:
            rows = wait_for(database, 2)
            assert rows[0]["id"] == first["id"] != rows[1]["id"]
            other.process.send_signal(signal.SIGKILL)
            other.process.wait()
            other.ended = True
        assert len(instances(database)) == 2
        # It is forgotten by the others a day later, but not while rows of it may wait in a spool.
        database.execute("INSERT INTO instances SELECT gen_random_uuid(), 'waits', version,"
                         " started_at, seen_at, 7, seen_at, '' FROM instances"
                         " WHERE instance_id = %s", (rows[1]["id"],))
        database.execute("UPDATE instances SET seen_at = seen_at - interval '25 hours'"
                         " WHERE instance_id <> %s", (first["id"],))
        until(lambda: {row["host"] for row in instances(database)} ==
              {"waits", socket.gethostname()} and len(instances(database)) == 2, timeout=20)
        database.execute("UPDATE instances SET seen_at = seen_at - interval '41 days'"
                         " WHERE host = 'waits'")
        until(lambda: [row["id"] for row in instances(database)] == [first["id"]], timeout=20)
        assert one.process.poll() is None


def revoke_one(s, client):
    token = s.access_token(client)
    began = time.monotonic()
    assert s.post("/revoke", data={"token": token}, auth=(client.id, client.secret)
                  ).status_code == 200
    took = time.monotonic() - began
    asked = s.post("/introspect", data={"token": token}, auth=(client.id, client.secret)).json()
    assert asked == {"active": False}
    return took


def test_a_server_that_may_not_note_itself_goes_on(database, jotd):
    """As after a migration that took the function away: it is logged once, and revocations work."""
    client = database.client()
    database.execute("REVOKE EXECUTE ON FUNCTION note_instance(uuid, text, text, timestamptz,"
                     " bigint, timestamptz, text) FROM jotd_server")
    with jotd(database) as s:
        assert "permission denied" in s.wait_log("instance.not_noted")["reason"]
        revoke_one(s, client)
        assert s.metric("jotd_revocation_feed_age_seconds") < 10
        database.execute("GRANT EXECUTE ON FUNCTION note_instance(uuid, text, text, timestamptz,"
                         " bigint, timestamptz, text) TO jotd_server")
        until(lambda: len(instances(database)) == 1, timeout=20)
        assert [line["event"] for line in s.log].count("instance.not_noted") == 1
        assert [line["event"] for line in s.log].count("feed.connected") == 1


def test_a_locked_table_holds_no_revocation_up(database, jotd):
    client = database.client()
    with database.locked("instances"), jotd(database) as s:
        assert "lock timeout" in s.wait_log("instance.not_noted")["reason"]
        assert revoke_one(s, client) < 3
        assert [line["event"] for line in s.log].count("feed.connected") == 1


def test_without_its_keys_it_has_another_digest(database, jotd):
    with jotd(database) as one, jotd(database) as other:
        first, second = wait_for(database, 2)
        assert one.jwks() != other.jwks()
        assert first["keys"] != second["keys"]
