#!/usr/bin/python3
"""Lists the modules of jotd and their includes. A module is a .c and its .h.

./dev modules            lists them
./dev modules --check    fails on an include or a name that is not allowed
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What the modules of a folder may include besides each other; the first pattern that matches a
# module counts. A name ending in / means the folder itself, without its subfolders.
PARTS = ["auth/client/", "auth/quota/", "auth/token/", "auth/ledger/"]
STATE = ["auth/settings", "auth/process", "auth/counters", "auth/oauth_error", "auth/openapi",
         "auth/feed", "auth/instance", "auth/introspection",
         "auth/migrations"]
COMMON = ["common/", "common/http/", "common/pg/", "common/redis/", "common/spool/"]
ALLOWED = [
    (r"common/(http|pg|redis|spool)/", ["common/"]),
    (r"common/", []),
    (r"auth/(client|quota|token|ledger)/", PARTS + COMMON + ["auth/migrations"]),
    (r"auth/store/", PARTS + ["common/", "common/pg/", "auth/migrations"]),
    (r"auth/command/", PARTS + ["auth/store/", "auth/settings", "auth/migrations", "common/",
                                "common/redis/", "common/spool/"]),
    (r"auth/endpoint/admin/", PARTS + STATE + COMMON + ["auth/worker", "auth/admin",
                                                       "auth/pending", "auth/store/"]),
    (r"auth/endpoint/", PARTS + STATE + COMMON + ["auth/worker", "auth/metrics", "auth/store/"]),
    (r"auth/main$", ["auth/command/", "auth/serve", "common/"]),
    (r"auth/serve$", STATE + COMMON + ["auth/command/", "auth/token/", "auth/routes", "auth/worker",
                                       "auth/admin", "auth/admin_routes", "auth/outage", "auth/pending", "auth/log_level"]),
    (r"auth/admin$", PARTS + STATE + COMMON + ["auth/store/"]),
    (r"auth/admin_routes$", COMMON + ["auth/admin", "auth/endpoint/admin/"]),
    (r"auth/routes$", STATE + COMMON + ["auth/endpoint/", "auth/worker", "auth/client/"]),
    (r"auth/", PARTS + STATE + COMMON + ["auth/worker", "auth/pending"]),
]


def strip(text):
    """The text without comments, strings and preprocessor lines."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^#(?:[^\n\\]|\\.|\\\n)*", "", text, flags=re.M)
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text)


def read_modules():
    modules = {}
    for path in sorted(p for d in ("auth", "common") for p in (ROOT / d).rglob("*.[ch]")):
        name = str(path.relative_to(ROOT).with_suffix(""))
        modules.setdefault(name, {})[path.suffix] = path.read_text()
    return modules


def included(texts, module):
    found = set()
    for text in texts.values():
        found |= set(re.findall(r'^#include "([^"]+)\.h"', text, re.M))
    return sorted(found - {module})


def is_allowed(module, other):
    folder = module.rpartition("/")[0] + "/"
    if other.rpartition("/")[0] + "/" == folder and folder != "auth/":
        return True
    names = next(names for pattern, names in ALLOWED if re.match(pattern, module))
    return other in names or other.rpartition("/")[0] + "/" in names


def circles(graph):
    """Sets of modules that include each other in a circle (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def foreign_names(module, texts):
    """Functions of the header whose names do not begin with the file's name, singular or plural."""
    stem = module.rpartition("/")[2]
    for name in re.findall(r"^[A-Za-z][^;{}=]*?\b([a-z_0-9]+)\(", strip(texts.get(".h", "")), re.M):
        if not re.match(rf"{stem}s?(_|$)", name) and name != "__attribute__":
            yield name


def reaches(graph, start, wanted):
    seen, left = set(), [start]
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            left += graph[module]
    return sorted(seen & wanted)


def complaints(modules, graph):
    with_h2o = {m for m, texts in modules.items() if "#include <h2o" in texts.get(".h", "")}
    for module, texts in modules.items():
        for other in graph[module]:
            if other not in modules:
                yield f"{module} includes {other}.h, which is not there"
            elif not is_allowed(module, other):
                yield f"{module} must not include {other}"
        if ".h" not in texts and not re.match(r"auth/(command/|main$)", module):
            yield f"{module}.c has no header of its name"
        for name in foreign_names(module, texts):
            yield f"{module}.h declares {name}(), whose name is not the file's"
        if re.search(r"\bh2o_req_t\b", strip("".join(texts.values()))) and not re.match(
                r"common/http/|auth/endpoint/|auth/(routes|admin_routes|worker|admin)$", module):
            yield f"{module} takes requests of h2o, which are for common/http and auth/endpoint"
        if re.match(r"auth/(command|store)/", module):
            for other in reaches(graph, module, with_h2o):
                yield f"{module} sees h2o, through {other}"
    for circle in circles(graph):
        yield "include each other in a circle: " + ", ".join(circle)


def main(arguments):
    modules = read_modules()
    graph = {module: included(texts, module) for module, texts in modules.items()}
    if arguments == ["--check"]:
        found = list(complaints(modules, graph))
        print("\n".join(found), end="\n" if found else "")
        return 1 if found else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    for module in sorted(graph, key=lambda m: (m.rpartition("/")[0], m)):
        print(module + "".join(f"\n    {other}" for other in graph[module]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
