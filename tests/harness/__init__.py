"""What the tests are built on: private servers, jotd itself, and HTTP byte by byte."""

from .ledger import abandon, millisecond_of, recorded
from .load import Load, claims_of
from .process import long_test, small_disk, until
from .proxy import Proxy
from .server import Server, jotd
from .services import Database, PostgreSQL, Redis
from .wire import Answer, parse_answers, parse_metrics

__all__ = [
    "Answer",
    "Database",
    "Load",
    "PostgreSQL",
    "Proxy",
    "Redis",
    "Server",
    "abandon",
    "claims_of",
    "jotd",
    "long_test",
    "millisecond_of",
    "parse_answers",
    "parse_metrics",
    "recorded",
    "small_disk",
    "until",
]
