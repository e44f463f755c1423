"""The documents match the program, and their links work."""

import json
import re

import pytest

from documents import config_page
from harness.process import ROOT, run_jotd

CALL = re.compile(r"\blog_(error|warn|info|debug)\(\s*([^,]+),")
FIELD = re.compile(r'\blog_(?:str|int|slice)\(\s*"([a-z0-9_]+)"')
# Events written without a log_ function: level, file, and a pattern for fields added elsewhere.
IN_PIECES = {
    "http.request": ("info", "common/http/access_log.c", r"\baccess_log_add\(req, \"([a-z_]+)\""),
    "log.level": ("info", "auth/log_level.c", None),
    "log.dropped": ("warn", "common/log.c", None),
}


@pytest.fixture(scope="module")
def options():
    return json.loads(run_jotd("config", "list", "--json").stdout)


def test_the_list_of_settings(options):
    listed = run_jotd("config", "list").stdout.splitlines()
    assert listed[0].split() == ["NAME", "DEFAULT", "MEANING"]
    assert [line.split()[:2] for line in listed[1:]] == [
        [option["name"], option["default"] or "-"] for option in options]
    by_name = {option["name"]: option for option in options}
    assert by_name["JOTD_SPOOL_FULL"]["choices"] == ["refuse", "drop"]
    assert (by_name["JOTD_WORKERS"]["min"], by_name["JOTD_WORKERS"]["word"]) == (1, "auto")
    assert {name for name, option in by_name.items() if option["secret"]} == {
        "DATABASE_URL", "JOTD_ADMIN_DATABASE_URL", "REDIS_URL"}


def test_the_page_of_settings(options):
    assert (ROOT / "docs" / "config.md").read_text() == config_page(options), "run ./dev docs"


def test_the_example_environment(options):
    """It has every variable with its default; without a default, with a valid value."""
    lines = re.findall(r"^(#?)([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    assert {name: None if off else value for off, name, value in lines} == {
        option["name"]: option["default"] for option in options}
    run_jotd("config", "check", env={name: value for _, name, value in lines})


def calls(text):
    """(level, event, fields) of every log call."""
    for match in CALL.finditer(text):
        end, depth = match.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield match[1], match[2], set(FIELD.findall(text[match.end():end]))


def sources():
    return {str(path.relative_to(ROOT)): path.read_text()
            for folder in ("auth", "common") for path in (ROOT / folder).rglob("*.c")}


def written_events():
    """By event: the level and the fields of each log call."""
    events = {}
    texts = sources()
    for text in texts.values():
        for level, event, fields in calls(text):
            assert re.fullmatch(r'"[a-z_.]+"', event), f"{event} is no constant"
            events.setdefault(event[1:-1], []).append((level, fields))
    for event, (level, path, more) in IN_PIECES.items():
        own = texts[path]
        begin = own.rindex("log_field fields[", 0, own.index(f'"{event}"'))
        fields = set(FIELD.findall(own[begin:own.index(f'"{event}"')]))
        if more:
            fields |= {name for text in texts.values() for name in re.findall(more, text)}
        events[event] = [(level, fields)]
    return events


def documented_events():
    """By event: its levels, the fields of all its lines, and those of only some."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([a-z, ]+) \| ([^|]*) \|",
                      (ROOT / "docs" / "logs.md").read_text(), re.M)
    assert len({event for event, *_ in rows}) == len(rows), "an event has two rows"
    for event, levels, fields in rows:
        some = re.search(r"\((.*)\)", fields)
        yield event, (set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields.split("(")[0])),
                      set(re.findall(r"`(\w+)`", some[1])) if some else set())


def test_every_event_is_documented():
    documented = dict(documented_events())
    written = written_events()
    assert set(documented) == set(written)
    for event, lines in written.items():
        levels, always, sometimes = documented[event]
        assert {level for level, _ in lines} == levels, event
        if event == "http.request":  # one line in pieces
            assert lines[0][1] == always | sometimes, event
        else:
            assert set.intersection(*(fields for _, fields in lines)) == always, event
            assert set.union(*(fields for _, fields in lines)) == always | sometimes, event


def anchors(path):
    """The anchors that GitHub derives from headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", path.read_text(),
                                               flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    found = 0
    for page in pages:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
            if "://" in target or target.startswith("mailto:"):
                continue
            found += 1
            other = (page.parent / target).resolve() if target else page
            assert other.exists(), f"{page.relative_to(ROOT)}: {target}"
            assert not anchor or anchor in anchors(other), f"{page.relative_to(ROOT)}: #{anchor}"
    assert found > 50
