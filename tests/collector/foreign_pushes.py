"""Pushes as hypothesis makes them up: right ones of strangers, and ones with one thing wrong."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hypothesis import strategies as st

from tests.collector.fuzzing import NODE
from tests.collector.pushing import MIB
from tests.wire.specification import Request, Sent, WriteRequest, first_version, second_version
from trafficd.wire.remote_write import Protocol

_STEP_SECONDS = 300
# Grid points that are over, however long the test takes.
_TIMES = [int(time.time()) // _STEP_SECONDS * _STEP_SECONDS - back * 3600 for back in range(6)]
_UPLINK = "trafficd_uplink_receive_bytes_total"
_CLASS = "trafficd_class_transmit_bytes_total"
_BUCKET = "trafficd_uplink_utilisation_ratio_bucket"
_SERIES: list[dict[str, str]] = [
    {"__name__": _UPLINK},
    {"__name__": "trafficd_tunnel_transmit_bytes_total"},
    {"__name__": "trafficd_start_timestamp_seconds"},
    {"__name__": _CLASS, "class": "wireguard"},
    {"__name__": _CLASS, "class": "ppp"},
    {"__name__": _BUCKET, "direction": "receive", "le": "0.05"},
    {"__name__": _BUCKET, "direction": "receive", "le": "1.00"},
    {"__name__": _BUCKET, "direction": "transmit", "le": "+Inf"},
]
_WHOSE = {"node": NODE.name, "location": NODE.location}
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_NO_WORDS = (
    *("192.0.2.7", "2001:db8::7", "anna@example.org", "ppp17.example", "a" * 33, "0.07", ""),
    *("PPP", "Wireguard", "l2tP", "ppp ", "ppp\n", "ppp\0", "\u0440pp", "17", "_ppp", "-ppp"),
)
_STRANGE_WORDS = (st.sampled_from(_NO_WORDS) | st.text()).filter(
    lambda text: not _WORD.fullmatch(text)
)
_WRONG_NUMBERS = st.one_of(
    st.floats(max_value=0, exclude_max=True), st.sampled_from([float("nan"), float("inf")])
)

_Series = tuple[dict[str, str], list[tuple[int, float]]]


@dataclass(frozen=True)
class Push:
    """A message, and whether section 6 of the design has all of it; None where nobody knows."""

    protocol: Protocol
    message: bytes
    is_right: bool | None


def strange_classes() -> Iterator[Push]:
    """Yield pushes of classes that nobody may have, by both versions."""
    for word, protocol in product(_NO_WORDS, Protocol):
        labels = {"__name__": _CLASS, "class": word, **_WHOSE}
        write = second_version if protocol is Protocol.V2 else first_version
        yield Push(protocol, write([(labels, [(_TIMES[0] * 1000, 1.0)])]), is_right=False)


@st.composite
def pushes(draw: st.DrawFn) -> Push:
    """Draw a push of NODE, as another library writes it, with at most one thing wrong."""
    protocol = draw(st.sampled_from(list(Protocol)))
    time_ms = draw(st.sampled_from(_TIMES)) * 1000
    series = [
        ({**each, **_WHOSE}, [(time_ms, _right(draw))])
        for each in draw(st.lists(st.sampled_from(_SERIES), min_size=1, max_size=6, unique_by=str))
    ]
    wrong = draw(st.sampled_from([None, None, *_WRONG, *_WRITTEN_WRONG]))
    if wrong in _WRONG:
        wrong(draw, draw(st.sampled_from(series)))
    message = _written(draw, series, protocol, wrong if wrong in _WRITTEN_WRONG else None)
    return Push(protocol, message, is_right=wrong is None)


@st.composite
def damaged(draw: st.DrawFn) -> Push:
    """Draw a push of which some bytes are others."""
    push: Push = draw(pushes())
    start = draw(st.integers(0, len(push.message)))
    end = start + draw(st.integers(0, 20))
    message = push.message[:start] + draw(st.binary(max_size=20)) + push.message[end:]
    return Push(push.protocol, message, is_right=None)


def _right(draw: st.DrawFn) -> float:
    # Few, so that releases are sent again; some, so that one contradicts another.
    return float(draw(st.sampled_from([MIB, MIB, MIB, 2 * MIB])))


def _written(draw: st.DrawFn, said: Sequence[Sent], protocol: Protocol, wrong: Any) -> bytes:
    is_second = protocol is Protocol.V2
    # Labels and series in any order, and twice where they say the same.
    again = said[: draw(st.integers(0, 1))]
    series: list[Sent] = [
        (dict(draw(st.permutations(list(labels.items())))), samples)
        for labels, samples in draw(st.permutations([*said, *again]))
    ]
    plain = second_version(series) if is_second else first_version(series)
    message = (Request if is_second else WriteRequest).FromString(plain)
    if is_second and draw(st.booleans()):
        # A table that holds each symbol twice.
        count = len(message.symbols)
        message.symbols.extend(list(message.symbols))
        for each in message.timeseries:
            each.labels_refs[:] = [number + count for number in each.labels_refs]
    if wrong is not None:
        wrong(draw(st.sampled_from(message.timeseries)), message)
    return bytes(message.SerializeToString())


# ---- what may be wrong in what is said ----


def _another_name(draw: st.DrawFn, series: _Series) -> None:
    other = st.text().filter(lambda name: not name.startswith("trafficd_"))
    strange = st.sampled_from(["up", f"{_UPLINK} ", f"{_UPLINK}_bucket", "trafficd_", "node_load1"])
    series[0]["__name__"] = draw(strange | other)


def _another_label(draw: st.DrawFn, series: _Series) -> None:
    names = st.sampled_from(["client", "peer", "instance", "Class", ""]) | st.text()
    series[0][draw(names.filter(lambda name: name not in series[0]))] = draw(st.text())


def _no_label(draw: st.DrawFn, series: _Series) -> None:
    del series[0][draw(st.sampled_from(sorted(series[0])))]


def _somebody_else(draw: st.DrawFn, series: _Series) -> None:
    label = draw(st.sampled_from(["node", "location"]))
    other = st.sampled_from(["fra-18", "FRA-17", "fra-17 ", "", "Frankfurt"]) | st.text()
    series[0][label] = draw(other.filter(lambda name: name not in (NODE.name, NODE.location)))


def _another_class(draw: st.DrawFn, series: _Series) -> None:
    _become(series, {"__name__": _CLASS, "class": draw(_STRANGE_WORDS)})


def _another_bound(draw: st.DrawFn, series: _Series) -> None:
    said = {"direction": "receive", "le": "0.05"}
    label = draw(st.sampled_from(sorted(said)))
    no_bound = _STRANGE_WORDS.filter(lambda text: not re.search(r"\d|(?i:inf)", text))
    _become(series, {"__name__": _BUCKET, **said, label: draw(no_bound)})


def _become(series: _Series, labels: dict[str, str]) -> None:
    series[0].clear()
    series[0].update(labels, **_WHOSE)


def _another_number(draw: st.DrawFn, series: _Series) -> None:
    series[1][0] = (series[1][0][0], draw(_WRONG_NUMBERS))


def _another_time(draw: st.DrawFn, series: _Series) -> None:
    off = st.integers(-(2**63), 2**63 - 1).filter(lambda each: each % (_STEP_SECONDS * 1000) != 0)
    # By hours: this module may have been imported some time ago.
    ahead = st.integers(24, 10**6).map(lambda more: (_TIMES[0] + more * _STEP_SECONDS) * 1000)
    series[1][0] = (draw(off | ahead | st.just(0)), series[1][0][1])


def _two_numbers(draw: st.DrawFn, series: _Series) -> None:
    series[1].append((series[1][0][0], series[1][0][1] + draw(st.sampled_from([1.0, 0.5 * MIB]))))


def _no_sample(draw: st.DrawFn, series: _Series) -> None:
    series[1].clear()


# ---- what may be wrong in how it is written ----


def _an_exemplar(series: Any, message: Any) -> None:
    series.exemplars.add(value=1.0)


def _a_histogram(series: Any, message: Any) -> None:
    series.histograms.add(count_int=3)


def _a_label_twice(series: Any, message: Any) -> None:
    if hasattr(series, "labels_refs"):
        series.labels_refs.extend(series.labels_refs[:2])
    else:
        series.labels.append(series.labels[0])


def _a_reference_to_nothing(series: Any, message: Any) -> None:
    if hasattr(series, "labels_refs"):
        series.labels_refs[-1] = len(message.symbols)
    else:
        series.ClearField("labels")


def _half_a_label(series: Any, message: Any) -> None:
    if hasattr(series, "labels_refs"):
        del series.labels_refs[-1]
    else:
        series.labels[0].ClearField("value")


_WRONG = (
    *(_another_name, _another_label, _no_label, _somebody_else, _another_class, _another_bound),
    *(_another_number, _another_time, _two_numbers, _no_sample),
)
_WRITTEN_WRONG = (
    *(_an_exemplar, _a_histogram, _a_label_twice, _a_reference_to_nothing, _half_a_label),
)
