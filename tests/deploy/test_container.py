"""The Dockerfile and compose.yaml: what they install and refer to. The image itself is among the
long tests."""

import fnmatch
import os
import pathlib
import re
import resource
import shutil
import subprocess

import pytest
import requests
import yaml

from harness import long_test, recorded, until
from harness.deployment import DEPLOY, dev_packages, port_of, settings
from harness.process import ROOT, binary, free_port, spawn

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVERS = {"postgresql", "redis-server", "curl"}  # used by ./dev, not needed for building


def installed_by(stage):
    """The packages that a stage installs with apt-get."""
    text = DOCKERFILE.split("\nFROM ")[1 + stage].replace("\\\n", " ")
    (found,) = re.findall(r"apt-get install -y --no-install-recommends ([^&\n]*)", text)
    return set(found.split())


def test_the_build_stage_has_what_building_needs():
    assert installed_by(0) == dev_packages("RUN_PACKAGES") - SERVERS


def owner(library):
    """The package of a library. /lib and /usr/lib are the same directory, but dpkg knows only one
    path."""
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
    """What .dockerignore leaves of the sources is enough for CMake."""
    context = tmp_path / "context"
    ignored = (ROOT / ".dockerignore").read_text().split()
    shutil.copytree(ROOT, context, symlinks=True,
                    ignore=lambda folder, names: [
                        name for name in names if pathlib.Path(folder) == ROOT
                        and any(fnmatch.fnmatch(name, pattern) for pattern in ignored)])
    subprocess.run(["cmake", "--preset", "release"], cwd=context, check=True,
                   capture_output=True)


# The image, built and run with Debian's tools

class Engine:
    """buildah and podman with their own store; podman needs a short path."""

    def __init__(self, home):
        self.home = home
        home.mkdir()
        (home / "conf").write_text('[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n')

    def __call__(self, program, *arguments):
        done = subprocess.run(
            [program, "--root", str(self.home / "store"), "--runroot", str(self.home / "run"),
             "--storage-driver", "vfs", *map(str, arguments)], text=True, capture_output=True,
            check=False, env={**os.environ, "CONTAINERS_CONF": str(self.home / "conf")})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture
def engine(directory):
    if os.geteuid() != 0 or any(shutil.which(name) is None
                                for name in ("mmdebstrap", "buildah", "podman", "runc")):
        pytest.skip("needs root, mmdebstrap, buildah, podman and runc")
    return Engine(directory / "engine")


@pytest.fixture
def image(engine):
    """The Dockerfile's image, on a base image made here instead of pulled from a registry."""
    base = engine.home / "base.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(base)], check=True)
    container = engine("buildah", "from", "scratch")
    engine("buildah", "add", container, base, "/")
    engine("buildah", "commit", "--rm", container, "localhost/base")
    engine("buildah", "bud", "--isolation", "chroot", "--format", "docker",
           "--build-arg", "BASE=localhost/base", "--tag", "localhost/jotd", ROOT)
    return "localhost/jotd"


@long_test
def test_the_image_issues_a_token(engine, image, database):
    """As its own user, with a read-only root file system and no capabilities."""
    port, files = free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)
    run = [
        "run", "--network", "host", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
        "--security-opt", "no-new-privileges", "--ulimit", f"nofile={files[0]}:{files[1]}",
        "--ulimit", "nproc=4096:4096",
        "--volume", "keys:/var/lib/jotd/keys", "--volume", "spool:/var/lib/jotd/spool",
        "--env", f"DATABASE_URL={database.url}", "--env", f"JOTD_LISTEN=127.0.0.1:{port}",
        "--env", "JOTD_ISSUER=http://127.0.0.1"]
    engine("podman", *run, "--rm", image, "key", "create")
    name = engine("podman", *run, "--detach", image)
    client = database.client()

    def token():
        return requests.post(f"http://127.0.0.1:{port}/token", auth=(client.id, client.secret),
                             data={"grant_type": "client_credentials"}, timeout=10)

    try:
        assert until(token, timeout=20).json()["access_token"]
        until(lambda: len(recorded(database)) == 1, timeout=20)
        engine("podman", "exec", name, "jotd", "healthcheck", "--ready")
        engine("podman", "exec", name, "sh", "-c",
               "test $(id -u):$(id -g) = 10001:10001 && ! touch /tmp/x && ! touch /var/lib/jotd/x &&"
               " touch /var/lib/jotd/spool/x && rm /var/lib/jotd/spool/x")
        assert "rejected: 0 files" in engine("podman", "exec", name, "jotd", "ledger", "status")
    finally:
        engine("podman", "stop", "--time", 20, name)
    assert engine("podman", "inspect", "--format", "{{.State.ExitCode}}", name) == "0"
    engine("podman", "rm", "--volumes", name)


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
                assert "restart" not in services[other], other  # a job that ends
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
    """Every variable has a default, and the addresses match each other."""
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.findall(r"(?<!\$)\$\{?[A-Z_]+(?!.*:-)", text) == []
    services = compose["services"]
    database = re.fullmatch(r"postgresql://(\w+):(\S+)@(\w+)/(\w+)",
                            services["jotd"]["environment"]["DATABASE_URL"])
    postgres = services[database[3]]["environment"]
    assert (database[1], database[2]) == (postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"])
    assert database[4] == postgres["POSTGRES_USER"]  # the image's default
    redis = re.fullmatch(r"redis://default:(\S+)@(\w+):6379/0",
                         services["jotd"]["environment"]["REDIS_URL"])
    assert redis[1] == services[redis[2]]["environment"]["REDISCLI_AUTH"]
    assert services["jotd"]["depends_on"].keys() == {"migrate", "first-key", redis[2]}


def test_images_are_pinned(compose):
    """A tag may point to another image tomorrow; a digest does not."""
    images = [service["image"] for service in compose["services"].values() if "build" not in service]
    images += re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.M)
    assert len(images) == 6
    for image in images:
        assert re.fullmatch(r"[\w/]+:[\w.-]*\d+\.?\d[\w.-]*@sha256:[0-9a-f]{64}", image), image
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) == ["$BASE", "$BASE"]


def defaults(text):
    """A value as compose expands it with an empty environment."""
    return re.sub(r"\$\{\w+:-(\w*)\}", r"\1", text).replace("$$", "$")


def test_redis_wants_a_password_that_no_command_line_shows(compose, tmp_path):
    """Started as compose does, except for the image's entry point, which only switches users."""
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
