"""A tiny engine on loopback that answers the PromQL that the planner asks, by its definition."""

import contextlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Thread
from urllib.parse import parse_qs

from tests.system.planning.pushing import HOUR, Sender, releases
from trafficd.releases import Release, Totals, Utilisation
from trafficd.series import series_of

_LAST = re.compile(r"last_over_time\(([a-z_]*)(\{.*\})?\[(\d+)s\]\)")
_COUNT = re.compile(
    r"count_over_time\(\(last_over_time\(([a-z_]+)(\{.*\})\[(\d+)s\] offset -(\d+)s\)"
    r" == time\(\)\)\[(\d+)s:(\d+)s\]\)"
)
_RESETS = re.compile(r"sum by \(node\) \(resets\(([a-z_]+)(\{.*?\})\[(\d+)s\]\)\)")
_MATCHER = re.compile(r'([a-z_]+)=~("(?:[^"\\]|\\.)*")')
_MOST_POINTS = 11_000

Labels = tuple[tuple[str, str], ...]
Answer = tuple[int, bytes]
Found = dict[Labels, float]


@dataclass
class Engine:
    """What it holds, and what it was asked; *answer* may put another answer in place of its own."""

    samples: dict[Labels, list[tuple[int, float]]] = field(default_factory=dict)
    now: int = 0
    url: str = ""
    answer: Callable[[str, dict[str, object]], object] = lambda _, own: own
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    _known: dict[tuple[str, str | None, int], list[Labels]] = field(default_factory=dict)

    def take(self, at: int, release: Release, **labels: str) -> None:
        """Hold a release as of a time."""
        for series, value in series_of(release):
            own = {"__name__": series.name, **dict(series.labels), **labels}
            self.samples.setdefault(tuple(sorted(own.items())), []).append((at, float(value)))

    def ask(self, call: str, asked: dict[str, str]) -> object:
        """Return the answer to a call."""
        self.asked.append(asked)
        query = asked["query"]
        if call == "query":
            found = self._at(query, self.now)
            result = [
                {"metric": dict(labels), "value": [self.now, str(value)]}
                for labels, value in found.items()
            ]
            return self.answer(query, _success("vector", result))
        first, last, step = (int(asked[name]) for name in ("start", "end", "step"))
        assert (last - first) // step < _MOST_POINTS
        lines: dict[Labels, list[list[object]]] = {}
        for at in range(first, last + 1, step):
            for labels, value in self._at(query, at).items():
                lines.setdefault(labels, []).append([at, repr(value)])
        result = [{"metric": dict(each), "values": values} for each, values in lines.items()]
        return self.answer(query, _success("matrix", result))

    def _at(self, query: str, at: int) -> Found:
        if told := _LAST.fullmatch(query):
            return self._last(told[1], told[2], at, int(told[3]))
        if told := _COUNT.fullmatch(query):
            window, late, within, step = map(int, told.group(3, 4, 5, 6))
            counts: dict[Labels, float] = {}
            for point in range(-(-(at - within) // step) * step, at + 1, step):
                for labels, value in self._last(told[1], told[2], point + late, window).items():
                    if value == point:
                        nameless = tuple(each for each in labels if each[0] != "__name__")
                        counts[nameless] = counts.get(nameless, 0) + 1
            return counts
        sums: list[Found] = []
        for told in _RESETS.finditer(query):
            resets: Found = {}
            for labels, values in self._within(told[1], told[2], at, int(told[3])).items():
                node = (("node", dict(labels)["node"]),)
                fell = sum(after < before for before, after in pairwise(values))
                resets[node] = resets.get(node, 0) + fell
            sums.append(resets)
        assert len(sums) == query.count("resets")
        return {
            node: sum(each[node] for each in sums)
            for node in sums[0]
            if all(node in each for each in sums)
        }

    def _last(self, name: str, selector: str | None, at: int, within: int) -> Found:
        found = self._within(name, selector, at, within)
        return {labels: values[-1] for labels, values in found.items()}

    def _within(
        self, name: str, selector: str | None, at: int, within: int
    ) -> dict[Labels, list[float]]:
        found = {}
        for labels in self._selected(name, selector):
            samples = self.samples[labels]
            end = bisect_right(samples, (at, float("inf")))
            begin = bisect_right(samples, (at - within, float("inf")))
            if begin < end:
                found[labels] = [value for _, value in samples[begin:end]]
        return found

    def _selected(self, name: str, selector: str | None) -> list[Labels]:
        # Asked for again at each point of a range.
        key = (name, selector, len(self.samples))
        if key not in self._known:
            matchers = {
                label: re.compile(json.loads(text))
                for label, text in _MATCHER.findall(selector or "")
            }  # fmt: skip
            if name:
                matchers["__name__"] = re.compile(name)
            self._known[key] = [
                labels
                for labels in self.samples
                if all(
                    each.fullmatch(dict(labels).get(label, "")) for label, each in matchers.items()
                )
            ]
        return self._known[key]


def _success(kind: str, result: Sequence[object]) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


@contextlib.contextmanager
def serving(engine: Engine) -> Iterator[Engine]:
    """Serve an engine on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            engine.headers.append(dict(self.headers))
            call = self.path.rpartition("/")[2]
            asked = {name: values[0] for name, values in parse_qs(body).items()}
            said = engine.ask(call, asked)
            status, answer = said if isinstance(said, tuple) else (200, json.dumps(said).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        engine.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield engine
        finally:
            server.shutdown()
            thread.join()


def pushed(engine: Engine, sender: Sender, begin: int) -> list[Release]:
    """Have an engine hold what a node pushes; return that."""
    sent = list(releases(sender, begin))
    for release in sent:
        engine.take(release.at, release, node=sender.name, location=sender.location)
    return sent


def scraped(engine: Engine, sender: Sender, begin: int, every: int) -> list[Release]:
    """Have an engine hold what a node's page shows each so many seconds; return its releases."""
    sent = list(_without_zeros(releases(sender, begin)))
    by_time = {release.at: release for release in sent}
    boots = [begin + hours * HOUR for hours in sender.boots]
    for at in range(boots[0], begin + sender.until * HOUR, every):
        # Off any grid, as scrapes are.
        moment = at + 137
        point = moment // sender.window * sender.window
        boot = max(each for each in boots if each <= moment)
        start = boot // sender.window * sender.window
        if point < boot + sender.window:
            nothing = tuple((name, Totals()) for name, _ in sent[0].classes)
            page = Release(
                0, start, sender.capacity, Totals(), Totals(), nothing, Utilisation()
            )  # fmt: skip
        elif point in by_time:
            page = by_time[point]
        else:
            continue
        engine.take(
            moment, page, node=sender.name, location=sender.location, instance="10.0.0.1:9787"
        )
    return sent


def _without_zeros(sent: Iterable[Release]) -> Iterator[Release]:
    kept = list(sent)
    for release, after in zip(kept, [*kept[1:], None], strict=True):
        is_zeros = not (release.uplink.rx_bytes or release.uplink.tx_bytes)
        if not (is_zeros and after is not None and after.started_at == release.started_at):
            yield release
