"""The Debian package: built, installed, used and purged."""

import grp
import os
import pathlib
import pwd
import shutil
import stat
import subprocess

import pytest

from harness.process import ROOT, binary, clean_environment

# Building needs the package's dependencies, so they are installed: no archive is contacted.
APT = ["apt-get", "-qy", "-o", "DPkg::Lock::Timeout=120", "-o", "APT::Sandbox::User=root",
       "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=/dev/null",
       "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
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
                    "libjansson4", "libyaml-0-2", "libsystemd0"):
        assert library in fields


def jotd(*arguments, check=True, cwd=None, user=None, **environment):
    """The installed command, in an environment without jotd's variables."""
    done = subprocess.run(["/usr/bin/jotd", *arguments], text=True, capture_output=True, cwd=cwd,
                          env=clean_environment(**environment), user=user, check=False)
    assert not check or done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
    return done


def is_known():
    """dpkg knows the package, or a user or files of that name exist."""
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
        # None of this existed before, so none of it belongs to anyone else.
        subprocess.run([*APT, "purge", "jotd"], capture_output=True, check=False)
        shutil.rmtree(STATE, ignore_errors=True)
        subprocess.run(["deluser", "--system", "--quiet", "jotd"], capture_output=True, check=False)


def looks(path):
    status = os.stat(path)
    return stat.S_IMODE(status.st_mode), pwd.getpwuid(status.st_uid).pw_name


def configure(*version):
    """Runs postinst as dpkg does after an upgrade from `version`; without one, after an
    installation."""
    return subprocess.run(["sh", "/var/lib/dpkg/info/jotd.postinst", "configure", *version],
                          text=True, capture_output=True, check=False)


def test_an_upgrade_makes_what_is_missing_and_changes_nothing_of_the_users(installed):
    """Until 0.1 jotd owned /var/lib/jotd itself."""
    shutil.chown(STATE, "jotd", "jotd")
    STATE.chmod(0o700)
    (STATE / "keys").rmdir()
    (STATE / "spool").chmod(0o710)
    shutil.chown(STATE / "spool", "nobody")
    done = configure("0.0.9")
    assert done.returncode == 0, done.stderr
    assert looks(STATE) == (0o750, "root")
    assert looks(STATE / "keys") == (0o700, "jotd")
    assert looks(STATE / "spool") == (0o710, "nobody")


@pytest.mark.parametrize("name", ["", "keys", "spool"])
def test_an_upgrade_follows_no_link_of_the_users(installed, tmp_path, name):
    """jotd could plant one while it owned /var/lib/jotd."""
    treasure = tmp_path / "treasure"
    for directory in (treasure, treasure / "keys", treasure / "spool"):
        directory.mkdir(mode=0o711)
    shutil.rmtree(STATE / name)
    (STATE / name).symlink_to(treasure)
    if name:
        shutil.chown(STATE, "jotd", "jotd")
    try:
        done = configure("0.0.9")
        assert done.returncode == 1
        assert f"jotd: {STATE / name} is no directory" in done.stderr
        for directory in (treasure, treasure / "keys", treasure / "spool"):
            assert looks(directory) == (0o711, "root")
    finally:
        (STATE / name).unlink()
    (STATE / name).write_text("no directory either")
    assert configure("0.0.9").returncode == 1
    (STATE / name).unlink()
    assert configure("0.0.9").returncode == 0


def test_install_use_and_purge(installed, database, tmp_path):
    assert run("/usr/bin/jotd", "version").startswith("jotd ")
    for path, mode, user in [
        ("/usr/bin/jotd", 0o755, "root"),
        ("/usr/lib/systemd/system/jotd.service", 0o644, "root"),
        ("/usr/lib/systemd/system/jotd.socket", 0o644, "root"),
        ("/usr/lib/systemd/system/jotd-rotate.service", 0o644, "root"),
        ("/usr/lib/systemd/system/jotd-rotate.timer", 0o644, "root"),
        ("/usr/lib/jotd/jotd", 0o755, "root"),
        ("/etc/jotd/commands.env", 0o600, "root"),
        ("/etc/jotd/jotd.env", 0o600, "root"),
        ("/etc/jotd/pgpass", 0o600, "root"),
        ("/var/lib/jotd", 0o750, "root"),
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
    assert {"/usr/share/doc/jotd/env.example", "/usr/share/doc/jotd/roles.sql"} <= set(listed)

    assert grp.getgrgid(STATE.stat().st_gid).gr_name == "jotd"
    assert not [*pathlib.Path("/etc/systemd/system").rglob("jotd*")], "nothing is enabled"

    # The commands find the server's database and keys: create a client, and a key, which a purge
    # removes.
    settings = pathlib.Path("/etc/jotd/jotd.env")
    settings.write_text(settings.read_text().replace(
        "'postgresql://jotd_server@127.0.0.1:5432/jotd'", f"'{database.url}'"))
    owners = pathlib.Path("/etc/jotd/commands.env")
    owners.write_text(owners.read_text().replace(
        "#DATABASE_URL='postgresql://jotd_owner@127.0.0.1:5432/jotd'",
        f"DATABASE_URL='{database.owner_url}'"))
    assert "jot_" in jotd("client", "create", "--name", "billing").stdout
    jotd("key", "create")
    (key,) = (STATE / "keys").iterdir()
    assert looks(key) == (0o600, "jotd")
    assert key.name[:43] in jotd("key", "list", cwd="/tmp").stdout
    assert f"the key {key.name[:43]} is 0 days old" in jotd("key", "rotate", "--if-older", "30").stderr
    assert "rejected: 0 files" in jotd("ledger", "status").stdout
    for others, status in [({"DATABASE_URL": database.url}, 1), ({"JOTD_KEYS_DIR": "/etc"}, 0)]:
        assert jotd("client", "create", "--name", "x", check=False, **others).returncode == status
    checked = jotd("config", "check").stdout
    assert "/var/lib/jotd/spool" in checked
    for arguments, status in [(["version"], 0), (["key", "list", "--help"], 0), (["key", "list"], 1)]:
        done = jotd(*arguments, user="nobody", check=False)
        assert done.returncode == status, done
        assert ("use sudo, or set DATABASE_URL" in done.stderr) == (status == 1)
    # A row that PostgreSQL does not have yet, which stays.
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
    assert pwd.getpwnam("jotd")  # the owner of the row

    waiting.unlink()
    run(*APT, "install", "--no-install-recommends",
        str(next(iter(tmp_path.parent.glob("package*/*.deb")))))
    run(*APT, "purge", "jotd")
    assert not is_known()
