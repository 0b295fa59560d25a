"""What a node may say: section 6 of itself, on the grid, and nothing else."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_series import RELEASE
from tests.wire.specification import (
    Request,
    Sent,
    WriteRequest,
    first_version,
    said,
    second_version,
)
from trafficd.collector.ingest import Ingest
from trafficd.collector.slices import Node, Slice
from trafficd.errors import MessageRefusedError, Refused
from trafficd.series import Series, place, series_of
from trafficd.wire.remote_write import Layout, Protocol

NODE = Node(7, "fra-17", "frankfurt")
AT = 1_795_484_400
NOW = AT + 20.0
SERIES = [series for series, _ in series_of(RELEASE)]
VALUES = [float(value) for _, value in series_of(RELEASE)]
WRITERS: dict[Protocol, Callable[[list[Sent]], bytes]] = {
    Protocol.V1: first_version,
    Protocol.V2: second_version,
}


def labels_of(series: Series, node: Node = NODE) -> dict[str, str]:
    return {
        "__name__": series.name,
        **dict(series.labels),
        "location": node.location,
        "node": node.name,
    }


def sent(at: int = AT) -> list[Sent]:
    return [
        (labels_of(series), [(at * 1000, value)])
        for series, value in zip(SERIES, VALUES, strict=True)
    ]


def read(message: bytes, protocol: Protocol = Protocol.V1, node: Node = NODE) -> list[Slice]:
    return Ingest().read(node, message, protocol, NOW)


@pytest.mark.parametrize("protocol", Protocol)
def test_a_release_is_read_whoever_wrote_it_and_in_whatever_order(protocol: Protocol) -> None:
    theirs = sent()
    random.Random(3).shuffle(theirs)
    theirs = [(dict(sorted(labels.items(), reverse=True)), samples) for labels, samples in theirs]

    found = read(WRITERS[protocol](theirs), protocol)

    assert found == [Slice(AT, tuple(SERIES), tuple(VALUES))]


@pytest.mark.parametrize("protocol", Protocol)
def test_messages_of_the_same_layout_are_read_as_the_first_was(protocol: Protocol) -> None:
    shuffled = random.Random(3).sample(SERIES, len(SERIES))
    ingest, layout = Ingest(), Layout(NODE.name, NODE.location, shuffled, protocol)
    for number in range(3):
        values = {series: float(number + place) for place, series in enumerate(shuffled)}
        at = AT - 300 * number

        found = ingest.read(NODE, layout.pack(at, values.values()), protocol, NOW)

        ordered = tuple(sorted(values, key=place))
        assert found == [Slice(at, ordered, tuple(values[each] for each in ordered))]


def test_samples_of_several_times_are_slices_by_time() -> None:
    times = [AT, AT - 600, AT - 300]

    found = read(first_version([(labels_of(SERIES[0]), [(at * 1000, float(at)) for at in times])]))

    assert found == [Slice(at, (SERIES[0],), (float(at),)) for at in sorted(times)]


def test_a_series_that_stands_twice_with_one_value_is_taken_once() -> None:
    assert read(first_version([*sent(), *sent()[:3]])) == read(first_version(sent()))


@pytest.mark.parametrize("protocol", Protocol)
def test_a_message_without_series_says_nothing(protocol: Protocol) -> None:
    assert read(b"", protocol) == []


def test_metadata_is_not_looked_at() -> None:
    request = WriteRequest()
    request.metadata.add(type=1, metric_family_name="node_cpu_seconds_total", help="x")

    assert read(request.SerializeToString()) == []


def changed(**labels: str | None) -> list[Sent]:
    first, *rest = sent()
    kept = {**first[0], **{name: value for name, value in labels.items() if value is not None}}
    for name in [name for name, value in labels.items() if value is None]:
        del kept[name]
    return [*rest, (kept, first[1])]


def valued(value: float) -> list[Sent]:
    first, *rest = sent()
    return [*rest, (first[0], [(AT * 1000, value)])]


def timed(milliseconds: int) -> list[Sent]:
    first, *rest = sent()
    return [*rest, (first[0], [(milliseconds, 1.0)])]


REFUSED: dict[str, tuple[list[Sent], Refused, str]] = {
    "another node": (changed(node="fra-18"), Refused.IDENTITY, "'fra-18'.*is for fra-17"),
    "no node": (changed(node=None), Refused.IDENTITY, "label node: missing"),
    "another location": (changed(location="oslo"), Refused.IDENTITY, "'oslo'.*is for frankfurt"),
    "no location": (changed(location=None), Refused.IDENTITY, "label location: missing"),
    "no name": (changed(__name__=None), Refused.SERIES, "__name__"),
    "an empty name": (changed(__name__=""), Refused.SERIES, "__name__"),
    "another metric": (changed(__name__="up"), Refused.SERIES, "not a metric of trafficd"),
    "a scraper's label": (changed(instance="192.0.2.1:9787"), Refused.SERIES, "'instance'"),
    "NaN": (valued(math.nan), Refused.VALUE, "nan"),
    "infinity": (valued(math.inf), Refused.VALUE, "inf"),
    "less than nothing": (valued(-1.0), Refused.VALUE, "-1"),
    "off the grid": (timed(AT * 1000 + 60_000), Refused.TIME, "off the grid"),
    "a millisecond off": (timed(AT * 1000 + 1), Refused.TIME, "off the grid"),
    "no time": (timed(0), Refused.TIME, "off the grid"),
    "before time": (timed(-300_000), Refused.TIME, "off the grid"),
    "ahead": (timed((AT + 900) * 1000), Refused.TIME, "880 s ahead"),
    "the end of time": (timed(2**63 - 1), Refused.TIME, "off the grid"),
    "two values": ([*sent(), *valued(5.0)], Refused.CONFLICT, "both"),
    "no sample": ([*sent(), (labels_of(SERIES[1]), [])], Refused.MALFORMED, "no sample"),
    "too many destinations": (
        [
            (
                labels_of(Series("trafficd_push_pending_releases", (("destination", f"d{n}"),))),
                [(AT * 1000, 1.0)],
            )
            for n in range(1025)
        ],
        Refused.SERIES,
        "more than 1024 series",
    ),
    "too many classes": (
        [
            (
                labels_of(Series("trafficd_class_receive_bytes_total", (("class", f"c{n}"),))),
                [(AT * 1000, 1.0)],
            )
            for n in range(33)
        ],
        Refused.SERIES,
        "33 classes",
    ),
}


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("what", REFUSED)
def test_a_message_with_one_thing_wrong_is_refused_whole(what: str, protocol: Protocol) -> None:
    theirs, kind, reason = REFUSED[what]

    with pytest.raises(MessageRefusedError, match=reason) as refusal:
        read(WRITERS[protocol](theirs), protocol)

    assert refusal.value.kind is kind
    assert "\n" not in str(refusal.value)


def test_the_stale_marker_is_no_value() -> None:
    message = bytearray(first_version(valued(1.5)))
    # 0x7ff0000000000002 is how Prometheus marks a series that ended (pkg/value/value.go).
    number = message.rindex(b"\x00\x00\x00\x00\x00\x00\xf8\x3f")
    message[number : number + 8] = (0x7FF0000000000002).to_bytes(8, "little")

    with pytest.raises(MessageRefusedError, match="finite"):
        read(bytes(message))


def test_a_time_ahead_by_what_clocks_differ_is_taken() -> None:
    at = AT + 600

    found = Ingest().read(NODE, first_version(sent(at)), Protocol.V1, at - 599.0)

    assert [each.at for each in found] == [at]


def test_a_known_layout_lets_nothing_through_that_is_refused_else() -> None:
    layout = Layout(NODE.name, NODE.location, SERIES, Protocol.V1)
    ingest = Ingest()
    ingest.read(NODE, layout.pack(AT, VALUES), Protocol.V1, NOW)
    others = [math.nan, math.inf, -math.inf, -1.0]

    for value in others:
        for number in (0, 50, len(VALUES) - 1):
            values = [*VALUES[:number], value, *VALUES[number + 1 :]]
            with pytest.raises(MessageRefusedError, match="finite"):
                ingest.read(NODE, layout.pack(AT, values), Protocol.V1, NOW)
    for at in (AT + 1, AT + 1200):
        with pytest.raises(MessageRefusedError):
            ingest.read(NODE, layout.pack(at, VALUES), Protocol.V1, NOW)


def test_a_node_that_was_moved_is_refused_with_its_old_location() -> None:
    layout = Layout(NODE.name, NODE.location, SERIES, Protocol.V1)
    ingest = Ingest()
    ingest.read(NODE, layout.pack(AT, VALUES), Protocol.V1, NOW)

    with pytest.raises(MessageRefusedError, match="is for oslo"):
        ingest.read(replace(NODE, location="oslo"), layout.pack(AT, VALUES), Protocol.V1, NOW)


def test_histograms_and_exemplars_are_refused_with_their_count() -> None:
    first = WriteRequest.FromString(first_version(sent()))
    first.timeseries[2].exemplars.add(value=1.0)
    second = Request.FromString(second_version(sent()))
    second.timeseries[2].histograms.add(count_int=5)
    second.timeseries[2].histograms.add(count_int=6)

    with pytest.raises(MessageRefusedError, match="1 exemplars"):
        read(first.SerializeToString())
    with pytest.raises(MessageRefusedError, match="2 histograms"):
        read(second.SerializeToString(), Protocol.V2)


@pytest.mark.parametrize(
    ("references", "reason"), [([1], "odd count"), ([1, 99], "beyond the symbols")]
)
def test_references_to_no_symbol_are_refused(references: list[int], reason: str) -> None:
    request = Request(symbols=["", "__name__"])
    request.timeseries.add(labels_refs=references).samples.add(value=1, timestamp=AT * 1000)

    with pytest.raises(MessageRefusedError, match=reason):
        read(request.SerializeToString(), Protocol.V2)


def test_a_label_that_stands_twice_is_refused() -> None:
    request = WriteRequest.FromString(first_version(sent()))
    request.timeseries[0].labels.add(name="node", value=NODE.name)

    with pytest.raises(MessageRefusedError, match="stands twice"):
        read(request.SerializeToString())


@pytest.mark.parametrize("protocol", Protocol)
@given(noise=st.binary(max_size=300))
def test_no_bytes_are_more_than_refused(protocol: Protocol, noise: bytes) -> None:
    try:
        found = read(noise, protocol)
    except MessageRefusedError:
        return
    assert found == []


@pytest.mark.parametrize("protocol", Protocol)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_byte_changed_is_refused_or_says_what_the_specification_reads(
    protocol: Protocol, data: st.DataObject
) -> None:
    layout = Layout(NODE.name, NODE.location, SERIES[:6], protocol)
    ingest = Ingest()
    message = layout.pack(AT, VALUES[:6])
    ingest.read(NODE, message, protocol, NOW)
    number = data.draw(st.integers(0, len(message) - 1))
    other = bytearray(message)
    other[number] = data.draw(st.integers(0, 255))

    try:
        found = ingest.read(NODE, bytes(other), protocol, NOW)
    except MessageRefusedError:
        return

    theirs = said(bytes(other), is_second=protocol is Protocol.V2)
    samples = sorted(
        (at, labels["__name__"], value) for labels, each in theirs for at, value in each
    )
    assert (
        sorted(
            (each.at * 1000, series.name, value)
            for each in found
            for series, value in zip(each.series, each.values, strict=True)
        )
        == samples
    )
    assert {(labels["node"], labels["location"]) for labels, _ in theirs} == {
        (NODE.name, NODE.location)
    }
