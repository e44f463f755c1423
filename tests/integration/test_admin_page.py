"""The first commands of docs/admin.md, as a newcomer pastes them."""

import json
import os
import pathlib
import re
import subprocess

from harness.process import binary, clean_environment, free_port

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "admin.md"


def test_from_nothing_to_a_token(databases, redis_server, tmp_path):
    commands = re.search(r"```\n(export DATABASE_URL.*?)```", PAGE.read_text(), re.S)[1]
    lines = commands.splitlines()
    assert len([line for line in lines if not line.startswith("export")]) < 10
    public, private = free_port(), free_port()
    (tmp_path / "jotd").symlink_to(binary())
    with databases.empty(roles=False) as database:
        url = database.postgres.url(database.name)
        for before, after in (("postgresql://jotd@127.0.0.1/jotd", url),
                              ("127.0.0.1:8080", f"127.0.0.1:{public}"),
                              ("127.0.0.1:8082", f"127.0.0.1:{private}")):
            assert before in commands
            commands = commands.replace(before, after)
        script = commands + 'kill %1; wait\n'
        done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, text=True,
                              capture_output=True, timeout=60,
                              env=clean_environment(PATH=f"{tmp_path}:{os.environ['PATH']}",
                                                    JOTD_LISTEN=f"127.0.0.1:{public}",
                                                    REDIS_URL=redis_server.url))
    assert done.returncode == 0, done.stderr
    token = json.loads(done.stdout.splitlines()[-1])
    assert token["scope"] == "read"
    assert "ERROR" not in done.stderr and "runtime error" not in done.stderr
