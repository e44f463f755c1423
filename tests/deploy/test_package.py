"""The Debian package: made, installed, used and purged."""

import os
import pathlib
import pwd
import re
import shutil
import stat
import subprocess

import pytest

from harness.process import ROOT, binary

# What the package needs is installed, since building needs it: no archive is looked at.
APT = ["apt-get", "-qy", "-o", "DPkg::Lock::Timeout=120", "-o", "APT::Sandbox::User=root",
       "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=/dev/null",
       "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
STATE = pathlib.Path("/var/lib/jotd")


def run(*command, **options):
    done = subprocess.run(command, text=True, capture_output=True, check=False,
                          env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
                          **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    build = pathlib.Path(binary()).parent
    if shutil.which("cpack") is None or not (build / "CPackConfig.cmake").is_file():
        pytest.skip("needs cpack and a build folder")
    directory = tmp_path_factory.mktemp("package")
    run("cpack", "--config", str(build / "CPackConfig.cmake"), "-B", str(directory), cwd=build)
    (made,) = directory.glob("*.deb")
    return made


def test_the_package_depends_on_the_libraries(package):
    fields = run("dpkg-deb", "--field", str(package), "Depends", "Package", "Version")
    assert "Package: jotd\n" in fields
    for library in ("libh2o-evloop0.13", "libjwt0", "libpq5", "libhiredis0.14", "libssl3",
                    "libjansson4", "libsystemd0"):
        assert library in fields


def is_known():
    """dpkg knows the package, or something else has left a user or files of that name."""
    status = subprocess.run(["dpkg-query", "-W", "jotd"], capture_output=True, check=False)
    paths = (STATE, pathlib.Path("/etc/jotd"), pathlib.Path("/usr/bin/jotd"))
    return (status.returncode == 0 or "jotd" in {entry.pw_name for entry in pwd.getpwall()}
            or any(path.exists() for path in paths))


@pytest.fixture
def installed(package):
    if os.geteuid() != 0:
        pytest.skip("only root can install a package")
    if is_known():
        pytest.skip("jotd is installed here, or something of that name is")
    try:
        run(*APT, "install", "--no-install-recommends", str(package))
        yield
    finally:
        # Nothing of this was there before, so nothing of it is anybody else's.
        subprocess.run([*APT, "purge", "jotd"], capture_output=True, check=False)
        shutil.rmtree(STATE, ignore_errors=True)
        subprocess.run(["deluser", "--system", "--quiet", "jotd"], capture_output=True, check=False)


def looks(path):
    status = os.stat(path)
    return stat.S_IMODE(status.st_mode), pwd.getpwuid(status.st_uid).pw_name


def test_install_use_and_purge(installed, database, tmp_path):
    assert run("/usr/bin/jotd", "version").startswith("jotd ")
    for path, mode, user in [
        ("/usr/bin/jotd", 0o755, "root"),
        ("/usr/lib/systemd/system/jotd.service", 0o644, "root"),
        ("/usr/lib/systemd/system/jotd.socket", 0o644, "root"),
        ("/etc/jotd/jotd.env", 0o600, "root"),
        ("/etc/jotd/pgpass", 0o600, "root"),
        ("/var/lib/jotd", 0o700, "jotd"),
        ("/var/lib/jotd/keys", 0o700, "jotd"),
        ("/var/lib/jotd/spool", 0o700, "jotd"),
    ]:
        assert looks(path) == (mode, user), path
    account = pwd.getpwnam("jotd")
    assert account.pw_uid < 1000
    assert account.pw_shell.endswith("nologin")
    listed = run("dpkg", "-L", "jotd").split()
    for migration in (ROOT / "migrations").glob("*.sql"):
        assert f"/usr/share/doc/jotd/migrations/{migration.name}" in listed
    assert "/usr/share/doc/jotd/env.example" in listed

    # The commands of the runbook: a client, and a key, which a purge removes.
    settings = pathlib.Path("/etc/jotd/jotd.env")
    settings.write_text(settings.read_text().replace(
        "'postgresql://jotd@127.0.0.1:5432/jotd'", f"'{database.url}'"))
    (setup,) = re.findall(r"```\n(set -a.*?)```", RUNBOOK.read_text(), re.S)
    made = run("bash", "-ec", f"{setup}\njotd client create --name billing")
    assert "jot_" in made
    run("bash", "-ec", f"{setup}\nrunuser -u jotd -- env -u DATABASE_URL jotd key create")
    (key,) = (STATE / "keys").iterdir()
    assert looks(key) == (0o600, "jotd")
    # A record that PostgreSQL has not got, which stays.
    waiting = STATE / "spool" / "0198-dead" / "segment"
    waiting.parent.mkdir()
    waiting.write_text("a record\n")

    run(*APT, "remove", "jotd")
    assert key.exists()
    assert pathlib.Path("/etc/jotd/jotd.env").exists()
    assert not pathlib.Path("/usr/bin/jotd").exists()
    run(*APT, "purge", "jotd")
    assert not key.exists()
    assert not pathlib.Path("/etc/jotd").exists()
    assert waiting.exists()
    assert pwd.getpwnam("jotd")  # whose it is

    waiting.unlink()
    run(*APT, "install", "--no-install-recommends",
        str(next(iter(tmp_path.parent.glob("package*/*.deb")))))
    run(*APT, "purge", "jotd")
    assert not is_known()
