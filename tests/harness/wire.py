"""HTTP/1.1 answers and Prometheus text, parsed strictly enough to catch a server's mistakes."""

import dataclasses
import json
import re


@dataclasses.dataclass
class Answer:
    """One HTTP/1.1 answer as received."""

    status: int
    head: bytes  # status line and headers
    body: bytes

    @property
    def headers(self):
        """Names in lower case; the values of a repeated name are joined by ", "."""
        found = {}
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            name = name.lower()
            found[name] = f"{found[name]}, {value.strip()}" if name in found else value.strip()
        return found

    def json(self):
        return json.loads(self.body)

    def without_date(self):
        """The answer's bytes without the Date header."""
        lines = self.head.split(b"\r\n")
        return b"\r\n".join([
            *(line for line in lines if not line.lower().startswith(b"date:")), b"", self.body
        ])


def take_answer(data, start=0, to_head=False):
    """The answer at data[start] and where the next one begins, or None while it is incomplete."""
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        return None
    head, end = data[start:end], end + 4
    first = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]+(\r\n|$)", head)
    assert first, f"not HTTP: {head!r}"
    answer = Answer(int(first[1]), head, b"")
    if answer.status < 200 or answer.status in (204, 304) or to_head:
        return answer, end
    assert "transfer-encoding" not in answer.headers, f"no length: {head!r}"
    length = int(answer.headers["content-length"])
    if len(data) < end + length:
        return None
    answer.body = data[end : end + length]
    return answer, end + length


def parse_answers(data):
    """Every answer in `data`, which must end where the last one ends."""
    answers, start = [], 0
    while start < len(data):
        taken = take_answer(data, start)
        assert taken, f"cut off in the middle of an answer: {data[start:start + 200]!r}"
        answer, start = taken
        answers.append(answer)
    return answers


SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)'
    r'(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})?'
    r' (?P<value>[-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|Inf|NaN))',
    re.ASCII,
)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


class Metrics:
    """A parsed exposition: types by family, and samples."""

    def __init__(self):
        self.types = {}
        self.samples = []  # (name, labels, value)

    def family(self, name):
        """The family of a sample: histograms have three sample names."""
        stem = re.sub(r"_(bucket|sum|count)$", "", name)
        return stem if self.types.get(stem) in ("histogram", "summary") else name

    def select(self, name, **labels):
        return [
            (found, value) for sample, found, value in self.samples
            if sample == name and labels.items() <= found.items()
        ]

    def value(self, name, **labels):
        """The sum of the samples with these labels; 0 if the family exists without them."""
        assert self.family(name) in self.types, f"no metric {name}"
        return sum(value for _, value in self.select(name, **labels))


def parse_metrics(text):
    """Parses Prometheus text format 0.0.4; fails on anything a scraper would reject."""
    metrics = Metrics()
    seen = set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in metrics.types, f"two TYPE lines for {name}"
            assert kind in ("counter", "gauge", "histogram", "summary", "untyped"), line
            metrics.types[name] = kind
        elif line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4, f"HELP without a text: {line}"
        elif line:
            match = SAMPLE.fullmatch(line)
            assert match, f"not a sample: {line!r}"
            labels = dict(LABEL.findall(match["labels"] or ""))
            key = (match["name"], *sorted(labels.items()))
            assert key not in seen, f"twice: {line}"
            seen.add(key)
            metrics.samples.append((match["name"], labels, float(match["value"])))
            assert metrics.family(match["name"]) in metrics.types, f"no TYPE before {line}"
    check_histograms(metrics)
    return metrics


def check_histograms(metrics):
    """Buckets are cumulative and end with +Inf, which equals the count."""
    for name, kind in metrics.types.items():
        if kind != "histogram":
            continue
        series = {}
        for labels, value in metrics.select(f"{name}_bucket"):
            rest = tuple(sorted(item for item in labels.items() if item[0] != "le"))
            series.setdefault(rest, []).append((float(labels["le"]), value))
        for rest, buckets in series.items():
            assert buckets == sorted(buckets), f"buckets of {name} not in order"
            assert buckets[-1][0] == float("inf"), f"{name} lacks +Inf"
            assert [value for _, value in buckets] == sorted(value for _, value in buckets)
            (count,) = [v for found, v in metrics.select(f"{name}_count") if
                        tuple(sorted(found.items())) == rest]
            assert count == buckets[-1][1], f"{name}_count is not its +Inf bucket"
