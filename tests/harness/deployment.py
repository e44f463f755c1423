"""What the deployed files are checked against: jotd's variables and packages."""

import re
import shlex

from .process import ROOT

DEPLOY = ROOT / "deploy"


def settings():
    """Every variable of .env.example with its default, or None."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    found = (re.fullmatch(r"(#?)([A-Z_]+)=(.*)", line) for line in lines)
    return {match[2]: None if match[1] else match[3] for match in found if match}


def environment(path):
    """The variables that an environment file sets, all of which jotd must know."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    found = {name: shlex.split(value)[0] if value else "" for name, value in
             (line.split("=", 1) for line in lines)}
    assert set(found) <= set(settings()), set(found) - set(settings())
    return found


def port_of(listen):
    return int(listen.rpartition(":")[2])


def dev_packages(name):
    """A package array of ./dev."""
    return set(re.search(rf"^{name}=\(([^)]*)\)", (ROOT / "dev").read_text(), re.M)[1].split())
