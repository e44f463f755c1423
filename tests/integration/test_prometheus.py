"""What an operator monitors: the real metrics in a real Prometheus, the alerts, the dashboard."""

import contextlib
import itertools
import json
import re
import subprocess
import time

import pytest
import yaml

from harness import Load, until
from harness.process import ROOT
from harness.prometheus import ROUTES, RULES, STALE, Alertmanager, Prometheus, alerts
from harness.services import Redis

DASHBOARD = ROOT / "deploy" / "grafana" / "jotd.json"
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
TESTS = RULES.with_name("tests.yml")


def promtool(*arguments, **options):
    done = subprocess.run(["promtool", *arguments], text=True, capture_output=True, check=False,
                          cwd=RULES.parent, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# The files, without a server

def test_promtool_accepts_the_configuration_and_the_rules():
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint-fatal", "rules.yml")


def test_the_cases_of_the_rules():
    promtool("test", "rules", "tests.yml")


def cases():
    """Every query of ALERTS in tests.yml: its text, and the expected labels."""
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for query in test.get("promql_expr_test", ()):
            if query["expr"].startswith("ALERTS"):
                yield query["expr"], [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
                                      for sample in query["exp_samples"]]


@pytest.mark.parametrize("name", alerts())
def test_every_alert_is_complete(name):
    """It has a case in which it fires and one in which it does not, uses only labels that it has,
    and links to a section of the runbook."""
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    fires = [labels for _, expected in cases() for labels in expected
             if labels["alertname"] == name]
    assert fires, "no case in which it fires"
    assert any(not expected and (name in query or "alertname=" not in query)
               for query, expected in cases()), "no case in which it is silent"
    for text in rule["annotations"].values():
        for label in re.findall(r"\$labels\.(\w+)", text):
            assert all(label in labels for labels in fires), label
    assert rule["annotations"]["runbook_url"] == (
        '{{ or $externalLabels.jotd_runbook "%s" }}#%s' % (RUNBOOK.relative_to(ROOT), name.lower()))
    assert f"\n### {name}\n" in RUNBOOK.read_text()
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])


def test_the_links_of_the_runbook_lead_somewhere():
    text = RUNBOOK.read_text()
    headings = [re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
                for line in re.findall(r"^#+ (.*)$", text, re.M)]
    for page, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        assert (RUNBOOK.parent / page).exists(), page
        assert page or anchor in headings, anchor


def test_nothing_depends_on_the_name_of_the_job():
    """Except that only the job can show whether a target that was never up is jotd's."""
    queries = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"]
               for rule in group["rules"]] + [query for _, query in dashboard_queries()]
    assert {job for query in queries for job in re.findall(r"job\S?~?\"[^\"]*\"", query)} == {
        'job=~"$job"', 'job=~".*jotd.*"'}


# Whom alerts reach

def test_amtool_accepts_the_routes():
    done = subprocess.run(["amtool", "check-config", ROUTES], text=True, capture_output=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_reach_by_their_severity_and_only_when_they_are_news(directory):
    home = directory / "alertmanager"
    home.mkdir()
    manager = Alertmanager(home)
    manager.start()
    try:
        def alert(name, **labels):
            return {"alertname": name, "job": "tokens", "severity": alerts()[name]["labels"]["severity"],
                    **labels}

        manager.send([alert(name, instance="a") for name in (
            "JotdDown", "JotdLimiterFallback", "JotdPostgresDown", "JotdNoSigningKey")])
        manager.send([alert("JotdLimiterFallback", instance="b"),
                      alert("JotdPostgresDown", instance="c"), alert("JotdLedgerBehind", instance="c"),
                      alert("JotdErrorBudgetBurnFast"), alert("JotdErrorBudgetBurnSlow"),
                      alert("JotdIntrospectionErrors"), alert("JotdIntrospectionLatencyHigh")])
        expected = {("pager", "JotdDown", "a"), ("ticket", "JotdLimiterFallback", "b"),
                    ("ticket", "JotdPostgresDown", "c"), ("ticket", "JotdLedgerBehind", "c"),
                    ("pager", "JotdErrorBudgetBurnFast", None),
                    ("pager", "JotdIntrospectionErrors", None)}
        until(lambda: manager.told() == expected)
    finally:
        manager.stop()


# With a server

class Gentle(Load):
    """A few dozen requests a second."""

    pause = 0.02


class Asking(Gentle):
    """The same about a token, at /introspect."""

    def __init__(self, server, client):
        super().__init__([server], client, threads=1)
        self.requests = [server.token_request(client, f"token={server.access_token(client)}",
                                              path="/introspect")]

    def take(self, body):
        assert body["active"]


@pytest.fixture(scope="module")
def watched(directory, databases, jotd):
    """jotd with a Redis of its own, and a Prometheus that watches it."""
    with contextlib.ExitStack() as stack:
        def running(service):
            service.start()
            stack.callback(service.stop)
            return service

        homes = [directory / name for name in ("watched-redis", "prometheus")]
        for home in homes:
            home.mkdir()
        redis = running(Redis(homes[0]))
        database = stack.enter_context(databases.migrated())
        # Records are sent one by one, so a second's wait counts as long.
        server = stack.enter_context(jotd(database, redis_url=redis.url, batch_rows=1,
                                          revocation_stale=STALE))
        server.database, server.redis = database, redis
        server.prometheus = running(Prometheus(homes[1], [server.listen]))
        yield server


@pytest.fixture
def traffic(watched):
    """A client that gets a few dozen tokens a second."""
    client = watched.database.client(tier="unlimited")
    with Gentle([watched], client, threads=1) as load:
        load.progress(1)
        yield load


@pytest.fixture
def asking(watched):
    """A client that asks a few dozen times a second whether its token is active."""
    with Asking(watched, watched.database.client(tier="unlimited")) as load:
        load.meets(200)
        yield load


def wait_for_alerts(watched, *names, but=()):
    """Waits until exactly these alerts fire, ignoring `but`; returns all that fire."""
    firing = {}

    def as_expected():
        nonlocal firing
        firing = watched.prometheus.firing()
        return set(firing) - set(but) == set(names)

    try:
        until(as_expected, timeout=30, interval=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}; firing: {sorted(firing)}") from None
    return firing


def test_promtool_finds_no_fault_in_the_metrics(watched, traffic):
    assert promtool("check", "metrics", input=watched.get("/metrics").text) == ""


def metric_names(expression):
    """Names in a query that look like jotd's metrics, without _bucket, _sum and _count."""
    return {re.sub(r"_(bucket|sum|count)$", "", name)
            for name in re.findall(r"\b(?:jotd|process)_\w+", expression)}


def dashboard_queries():
    dashboard = json.loads(DASHBOARD.read_text())
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"]
            for target in panel.get("targets", ())]  # a heading has none


def test_rules_and_dashboard_name_only_metrics_that_exist(watched):
    known = set(watched.metrics().types)
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"]
             for rule in group["rules"]]
    for expression in [rule["expr"] for rule in rules] + [query for _, query in dashboard_queries()]:
        assert metric_names(expression) <= known, expression


@pytest.fixture
def limited(watched):
    """A client that keeps asking past 80 % of its quota."""
    watched.database.cli("tier", "set", "narrow", "--per-hour", 3000)
    client = watched.database.client(tier="narrow")
    request = watched.token_request(client)
    with Gentle([watched], client, threads=1) as load:
        watched.raw(request * 2400, answers=2400, timeout=20)
        yield load


def test_every_query_of_the_dashboard_returns_data(watched, traffic, asking, limited):
    client = watched.database.client()
    unknown = (f"made-up-{number}" for number in itertools.count())

    def shown(expression):
        expression = expression.replace("$__rate_interval", "2s")
        expression = expression.replace("$instance", ".*").replace("$job", ".*")
        assert "$" not in expression
        return any(value == value for _, value in watched.prometheus.query(expression))  # no NaN

    for title, expression in dashboard_queries():
        def has_data():
            watched.token(client_id=next(unknown), client_secret=client.secret)
            watched.post("/revoke", {"token": "x"}, auth=(client.id, client.secret))
            watched.post("/introspect", auth=(client.id, client.secret))
            return shown(expression)

        try:
            until(has_data, interval=0.1)
        except AssertionError:
            raise AssertionError(f"{title}: no data for {expression}") from None


def test_the_dashboard_does_not_overlap_itself():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


# The first looks back for hours, so earlier failures still count. The others measure times, which a
# sanitizer and a busy machine lengthen.
RESTLESS = ["JotdErrorBudgetBurnSlow", "JotdLatencyHigh", "JotdIntrospectionLatencyHigh", "JotdLoopLag"]


def test_alerts_while_postgres_is_away(watched, traffic, asking, postgres):
    """An uncached client is refused, issued tokens wait in the spool, and after a while nobody
    knows what has been revoked."""
    uncached = watched.database.client()
    wait_for_alerts(watched, but=RESTLESS)
    postgres.stop()
    with Gentle([watched], uncached, threads=1) as refused:
        firing = wait_for_alerts(watched, "JotdPostgresDown", "JotdLedgerBehind",
                                 "JotdErrorBudgetBurnFast", "JotdRevocationsStale",
                                 "JotdIntrospectionErrors",
                                 but=[*RESTLESS, "JotdCacheMissRateHigh"])  # which comes later
        assert asking.statuses[503] > 0
        assert refused.statuses[503] > 0
    assert watched.listen in firing["JotdLedgerBehind"]["annotations"]["summary"]
    assert watched.listen in firing["JotdRevocationsStale"]["annotations"]["summary"]
    for name in ("JotdErrorBudgetBurnFast", "JotdIntrospectionErrors"):
        assert "%" in firing[name]["annotations"]["description"]
    postgres.start()
    wait_for_alerts(watched, but=RESTLESS)


def test_an_alert_while_redis_is_away(watched, traffic):
    wait_for_alerts(watched, but=RESTLESS)
    watched.redis.stop()
    firing = wait_for_alerts(watched, "JotdLimiterFallback", but=RESTLESS)
    assert watched.listen in firing["JotdLimiterFallback"]["annotations"]["summary"]
    watched.redis.start()
    wait_for_alerts(watched, but=RESTLESS)


def test_alerts_when_the_only_key_retires_and_is_gone(watched, traffic):
    (key,) = watched.keys_dir.glob("*.pem")
    wait_for_alerts(watched, but=RESTLESS)
    key = key.rename(key.with_name(key.name.replace(".pem", f".{int(time.time()) + 3600}.pem")))
    wait_for_alerts(watched, "JotdSigningKeyRetiresSoon", but=RESTLESS)
    key.unlink()
    wait_for_alerts(watched, "JotdNoSigningKey", "JotdErrorBudgetBurnFast", but=RESTLESS)
    watched.create_key()
    wait_for_alerts(watched, but=RESTLESS)


def test_an_alert_when_jotd_is_gone(watched):
    wait_for_alerts(watched, but=RESTLESS)
    assert watched.stop() == 0
    firing = wait_for_alerts(watched, "JotdDown", but=RESTLESS)
    assert firing["JotdDown"]["labels"]["instance"] == watched.listen
    watched.start()
    wait_for_alerts(watched, but=RESTLESS)
