"""The ledger's rows in the database, and segments written by hand."""

import datetime
import pathlib
import random
import uuid

from .process import until


def recorded(database):
    """The jti of every row of issued_tokens; fails if one occurs twice."""
    found = [row[0] for row in database.execute("SELECT jti::text FROM issued_tokens")]
    assert len(found) == len(set(found)), "a token is recorded twice"
    return set(found)


def wait_for_maintenance(database):
    """Returns when a server has made the partitions and advanced the watermark, as each does first.
    """
    until(lambda: database.execute("SELECT watermark > '2000-01-01' FROM ledger_state")[0][0])


def millisecond_of(text):
    """The Unix time in milliseconds of a version 7 UUID."""
    return uuid.UUID(text).int >> 80


def uuid7(moment):
    """A version 7 UUID made at `moment`."""
    time = int(moment.timestamp() * 1000) << 80
    return str(uuid.UUID(int=time | 0x7 << 76 | 0b10 << 62 | random.getrandbits(62)))


def row(jti, moment, expires_at=None, format=2):
    """A line of a segment in this format."""
    line = f"{jti}\tgone\tfree\tread\thttps://a.example\tkid\t{moment}\t{expires_at or moment}"
    return f"{line}\tacme\t3f2a9c417b80\n" if format > 1 else f"{line}\n"


def segment_name(moment, format=2):
    """A new name of a segment, as in common/spool/spool_name.h."""
    return uuid7(moment) if format == 1 else f"{uuid7(moment)}.{format}"


def batch_of(path):
    """The batch id in a name of the spool."""
    return path.name[:36]


def abandon(spool_dir, days_ago=0, rows=2, torn="", format=2):
    """Writes the segment of a process that died. Returns its path and the jti of its rows."""
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days_ago)
    jtis = {uuid7(moment) for _ in range(rows)}
    expires_at = moment + datetime.timedelta(hours=1)
    lines = [row(jti, moment, expires_at, format) for jti in sorted(jtis)]
    segment = pathlib.Path(spool_dir, uuid7(moment), segment_name(moment, format))
    segment.parent.mkdir(mode=0o700, parents=True)
    segment.write_text("".join(lines) + torn)
    return segment, jtis
