"""Debian's Prometheus and Alertmanager, with the deployed rules on a shorter time scale."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request

import yaml

from .process import ROOT
from .services import Service

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
ROUTES = RULES.with_name("alertmanager.yml")
SHORTER = 300  # divisor: 5 minutes become a second
STALE = 3  # JOTD_REVOCATION_STALE in seconds, instead of 60
AGES = {"_pending_seconds": SHORTER, "_feed_age_seconds": 60 // STALE}  # divisors
SCRAPE_INTERVAL = "200ms"  # five in the shortest window
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def alerts():
    """Every alert of the rules, by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def shorten(expression):
    """Shortens the windows, and the ages that metrics are compared with."""
    def window(match):
        return f"[{int(match[1]) * UNITS[match[2]] * 1000 // SHORTER}ms]"

    expression = re.sub(r"\[(\d+)([smhd])\]", window, expression)
    for age, divisor in AGES.items():
        expression = re.sub(rf"({age}\S*) > (\d+)",
                            lambda match: f"{match[1]} > {int(match[2]) / divisor}", expression)
    return expression


def short_rules():
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = shorten(rule["expr"])
            if "for" in rule:
                rule["for"] = shorten(f"[{rule['for']}]").strip("[]")
    return rules


class Watcher(Service):
    """Prometheus or Alertmanager, which report readiness in the same way."""

    def get(self, path, **parameters):
        return self.ask(f"{path}?{urllib.parse.urlencode(parameters)}")

    def ask(self, request, **options):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(f"http://127.0.0.1:{self.port}{request}", **options),
                         timeout=10) as answer:
            return answer.read()

    def answers(self):
        try:
            return bool(self.get("/-/ready"))
        except urllib.error.HTTPError:  # 503: not yet
            return False


class Alertmanager(Watcher):
    """With the deployed routes."""

    def command(self):
        return ["prometheus-alertmanager", "--config.file", str(ROUTES), "--storage.path", "data",
                "--web.listen-address", f"127.0.0.1:{self.port}", "--cluster.listen-address=",
                "--log.level", "warn"]

    def send(self, alerts):
        """Posts firing alerts with these labels."""
        self.ask("/api/v2/alerts", headers={"Content-Type": "application/json"},
                 data=json.dumps([{"labels": labels} for labels in alerts]).encode())

    def told(self):
        """Alerts sent, not inhibited: (receiver, name, instance)."""
        return {(receiver["name"], alert["labels"]["alertname"], alert["labels"].get("instance"))
                for alert in json.loads(self.get("/api/v2/alerts", inhibited="false"))
                for receiver in alert["receivers"]}


class Prometheus(Watcher):
    """Scrapes `targets` as the job jotd."""

    def __init__(self, directory, targets):
        super().__init__(directory)
        (self.directory / "rules.yml").write_text(yaml.safe_dump(short_rules()))
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": SCRAPE_INTERVAL, "scrape_timeout": SCRAPE_INTERVAL,
                       "evaluation_interval": SCRAPE_INTERVAL},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "jotd", "static_configs": [{"targets": targets}]}],
        }))

    def command(self):
        return ["prometheus", "--config.file", "prometheus.yml", "--storage.tsdb.path", "data",
                "--web.listen-address", f"127.0.0.1:{self.port}", "--log.level", "warn"]

    def query(self, expression):
        """The samples of an instant query: (labels, value)."""
        try:
            found = json.loads(self.get("/api/v1/query", query=expression))["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
        return [(sample["metric"], float(sample["value"][1])) for sample in found]

    def firing(self):
        """The firing alerts by name."""
        found = json.loads(self.get("/api/v1/alerts"))["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in found
                if alert["state"] == "firing"}
