"""The Dockerfile and compose.yaml, without a container engine: what they install and refer to."""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from harness import long_test, until
from harness.deployment import DEPLOY, dev_packages, port_of, settings
from harness.process import ROOT, binary, free_port, spawn

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVERS = {"postgresql", "redis-server", "curl"}  # of ./dev: not needed for building


def installed_by(stage):
    """The packages of the apt-get install of a stage."""
    text = DOCKERFILE.split("\nFROM ")[1 + stage].replace("\\\n", " ")
    (found,) = re.findall(r"apt-get install -y --no-install-recommends ([^&\n]*)", text)
    return set(found.split())


def test_the_build_stage_has_what_building_needs():
    assert installed_by(0) == dev_packages("RUN_PACKAGES") - SERVERS


def owner(library):
    """The package of a library; /lib and /usr/lib are the same directory, dpkg knows one of them."""
    for path in (library, library.removeprefix("/usr"), os.path.realpath(library)):
        done = subprocess.run(["dpkg", "-S", path], text=True, capture_output=True, check=False)
        if done.returncode == 0:
            return done.stdout.split(":")[0]
    raise AssertionError(f"{library} belongs to no package")


def test_the_runtime_stage_has_the_libraries_that_jotd_links_with():
    done = subprocess.run(["objdump", "-p", binary()], text=True, capture_output=True, check=True)
    needed = re.findall(r"NEEDED +(\S+)", done.stdout)
    done = subprocess.run(["ldd", binary()], text=True, capture_output=True, check=True)
    paths = dict(re.findall(r"^\t(\S+) => (/\S+)", done.stdout, re.M))
    packages = {owner(paths[name]) for name in needed if name in paths}
    assert packages - {"libc6"} == installed_by(1)


def test_nothing_that_the_build_needs_is_ignored():
    """The build context lacks what .dockerignore names; CMake reads the rest."""
    ignored = set((ROOT / ".dockerignore").read_text().split())
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True,
                            check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    sources = {path.split("/")[0] for path in listed.stdout.split()}
    assert ignored & sources <= {".ci", ".dockerignore", "Dockerfile", "deploy", "loadtest"}
    assert {".git", ".local", "build", "build-*", "keys", "spool"} <= ignored


def test_the_build_context_can_be_configured(tmp_path):
    """What is left of the sources without what .dockerignore names is enough for CMake."""
    context = tmp_path / "context"
    ignored = (ROOT / ".dockerignore").read_text().split()
    shutil.copytree(ROOT, context, symlinks=True,
                    ignore=lambda folder, names: [
                        name for name in names if pathlib.Path(folder) == ROOT
                        and any(fnmatch.fnmatch(name, pattern) for pattern in ignored)])
    subprocess.run(["cmake", "--preset", "release"], cwd=context, check=True,
                   capture_output=True)


# A fresh root file system, as the runtime stage makes it

@pytest.fixture
def fresh_root(tmp_path):
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root and mmdebstrap")
    root = tmp_path / "root"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(root),
         f"--include={','.join(sorted(installed_by(1)))}"], check=True)
    return root


@long_test
def test_jotd_runs_with_the_packages_of_the_runtime_stage(fresh_root, database, jotd, tmp_path):
    """As the user of the image, in a root file system in which only /var/lib/jotd is its own."""
    shutil.copy(binary(), fresh_root / "usr/bin/jotd")
    home = fresh_root / "var/lib/jotd"
    for path in (home, home / "keys", home / "spool"):
        path.mkdir(mode=0o700)
        os.chown(path, 10001, 10001)
    port = free_port()
    env = {"DATABASE_URL": database.url, "JOTD_LISTEN": f"127.0.0.1:{port}", "PATH": "/usr/bin",
           "JOTD_KEYS_DIR": "/var/lib/jotd/keys", "JOTD_SPOOL_DIR": "/var/lib/jotd/spool"}
    enter = ["/usr/sbin/chroot", "--userspec=10001:10001", str(fresh_root), "jotd"]
    subprocess.run([*enter, "key", "create"], env=env, check=True)
    server = spawn([*enter, "serve"], env=env)
    try:
        def healthy():
            asked = subprocess.run([*enter, "healthcheck", "--ready"], env=env, check=False)
            return asked.returncode == 0

        until(healthy, timeout=20)
        server.terminate()
        assert server.wait(20) == 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


# compose.yaml

@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_refers_only_to_what_is_there(compose):
    services, used = compose["services"], set()
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[other], other
            else:
                assert "restart" not in services[other], other  # one that ends
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            assert target.startswith("/")
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                used.add(source)
        if "build" in service:
            assert (DEPLOY / service["build"] / "Dockerfile").is_file()
            assert set(service["environment"]) <= set(settings()), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "a trial is nobody else's business"
    assert used == set(compose["volumes"])


def test_compose_needs_no_edit(compose):
    """Whatever it takes from the environment has a default, and the addresses fit each other."""
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.findall(r"(?<!\$)\$\{?[A-Z_]+(?!.*:-)", text) == []
    services = compose["services"]
    database = re.fullmatch(r"postgresql://(\w+):(\S+)@(\w+)/(\w+)",
                            services["jotd"]["environment"]["DATABASE_URL"])
    postgres = services[database[3]]["environment"]
    assert (database[1], database[2]) == (postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"])
    assert database[4] == postgres["POSTGRES_USER"]  # the default of the image
    redis = re.fullmatch(r"redis://default:(\S+)@(\w+):6379/0",
                         services["jotd"]["environment"]["REDIS_URL"])
    assert redis[1] == services[redis[2]]["environment"]["REDISCLI_AUTH"]
    assert services["jotd"]["depends_on"].keys() == {"migrate", "first-key", redis[2]}


def test_images_are_pinned(compose):
    """A tag may mean another image tomorrow; a digest does not."""
    images = [service["image"] for service in compose["services"].values() if "build" not in service]
    images += re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.M)
    assert len(images) == 6
    for image in images:
        assert re.fullmatch(r"[\w/]+:[\w.-]*\d+\.?\d[\w.-]*@sha256:[0-9a-f]{64}", image), image
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) == ["$BASE", "$BASE"]


def defaults(text):
    """What compose makes of a value when nothing is set in its environment."""
    return re.sub(r"\$\{\w+:-(\w*)\}", r"\1", text).replace("$$", "$")


def test_redis_wants_a_password_that_no_command_line_shows(compose, tmp_path):
    """As compose starts it, but for the image's entry point, which only becomes another user."""
    service, port = compose["services"]["redis"], free_port()
    entry = tmp_path / "docker-entrypoint.sh"
    entry.write_text(f'#!/bin/sh\nexec "$@" --bind 127.0.0.1 --port {port}\n')
    entry.chmod(0o755)
    env = {**os.environ, "REDISCLI_AUTH": "pass w0rd", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    server = spawn([entry.name, *map(defaults, service["command"])], env=env, cwd=tmp_path)
    try:
        ask = [*service["healthcheck"]["test"][1:2], "-p", str(port),
               *service["healthcheck"]["test"][2:]]

        def pings(environ):
            return subprocess.run(ask, env=environ, text=True, capture_output=True, check=False)

        until(lambda: pings(env).returncode == 0)
        refused = pings({**env, "REDISCLI_AUTH": ""})
        assert refused.returncode != 0
        assert "NOAUTH" in refused.stdout + refused.stderr
        shown = pathlib.Path(f"/proc/{server.pid}/cmdline").read_text()
        assert "redis-server" in shown
        assert "w0rd" not in shown
    finally:
        server.terminate()
        server.wait()


def test_what_watches_finds_each_other_and_jotd(compose):
    services = compose["services"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (manager,) = prometheus["alerting"]["alertmanagers"]
    host, port = manager["static_configs"][0]["targets"][0].split(":")
    assert services[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    (scrape,) = prometheus["scrape_configs"]
    host, port = scrape["static_configs"][0]["targets"][0].split(":")
    assert int(port) == port_of(services[host]["environment"]["JOTD_METRICS_LISTEN"])
    provisioning = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())
    url = source["datasources"][0]["url"]
    host, port = re.fullmatch(r"http://(\w+):(\d+)", url).groups()
    assert any(entry.endswith(f":{port}") for entry in services[host]["ports"])
    mounts = {target: origin for origin, target, *_ in
              (volume.split(":") for volume in services["grafana"]["volumes"])}
    dashboards = yaml.safe_load((provisioning / "dashboards/jotd.yml").read_text())
    folder = dashboards["providers"][0]["options"]["path"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert pathlib.PurePath(home).parent == pathlib.PurePath(folder)
    assert mounts[home] == "./grafana/jotd.json"
    assert mounts["/etc/grafana/provisioning"] == "./grafana/provisioning"


def test_compose_gives_jotd_the_time_to_drain(compose):
    grace = int(compose["services"]["jotd"]["stop_grace_period"].removesuffix("s"))
    assert grace > int(settings()["JOTD_DRAIN_TIMEOUT"])
