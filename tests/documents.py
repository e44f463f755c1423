#!/usr/bin/python3
"""The pages of docs/ that are generated from the program.

./dev docs    writes docs/config.md from the output of `jotd config list`
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG_HEAD = """# Configuration

jotd is configured by environment variables only; commands read the same ones. `jotd config list`
prints this table and `jotd config check` the values in effect, with secrets masked. A bad value
stops the start; the error names the variable and the allowed form. An unknown `JOTD_` variable is
warned of. [.env.example](../.env.example) has all of them, to copy.

<!-- Written by `./dev docs` from the table in auth/settings.c. -->

| variable | default | values | meaning |
| --- | --- | --- | --- |
"""


def allowed(option):
    if "choices" in option:
        return ", ".join(f"`{word}`" for word in option["choices"])
    if "min" in option:
        word = f", `{option['word']}`" if "word" in option else ""
        return f"{option['min']} to {option['max']}{word}"
    return ""


def config_page(options):
    """docs/config.md, from the output of `jotd config list --json`."""
    rows = []
    for option in options:
        default = f"`{option['default']}`" if option["default"] is not None else ""
        meaning = re.sub(r"(<[^>]*>|https?://\S+|redis://\S+|unix:/\S*)", r"`\1`", option["help"])
        rows.append(f"| `{option['name']}` | {default} | {allowed(option)} | {meaning} |\n")
    return CONFIG_HEAD + "".join(rows)


def main():
    listed = subprocess.check_output([ROOT / "build" / "jotd", "config", "list", "--json"])
    (ROOT / "docs" / "config.md").write_text(config_page(json.loads(listed)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    main()
