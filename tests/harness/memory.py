"""Searches the memory of another process."""

import pathlib
import re


def regions(pid):
    """Readable resident address ranges, each with its lines of /proc/PID/smaps."""
    text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    parts = re.split(r"^([0-9a-f]+)-([0-9a-f]+) (.*)$", text, flags=re.M)[1:]
    for start, end, line, facts in zip(*[iter(parts)] * 4):
        if line[0] == "r" and "Rss:                   0 kB" not in facts:
            yield int(start, 16), int(end, 16), line + facts


def find(pid, needles, where=lambda facts: True):
    """Which of the `needles` occur in the regions of `pid` for which `where` is true."""
    found = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, facts in regions(pid):
            if "[v" in facts or not where(facts):  # vvar, vdso, vsyscall
                continue
            try:
                memory.seek(start)
                bytes_ = memory.read(end - start)
            except OSError:
                continue  # unmapped meanwhile
            found.update(needle for needle in needles if needle in bytes_)
    return found
