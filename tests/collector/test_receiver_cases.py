"""What a receiver owes its senders, case by case, against a whole collector and its file.

Each case is a push as a correct or a broken sender makes it, over HTTP, in both versions of remote
write. It asserts the answer and, by reading the file, what is stored; then a good push of the same
node has to be stored as well. So a receiver that refuses everything fails every case, and so does
one that says yes and stores nothing.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and .../remote_write_spec_2_0/; the
cases are those of https://github.com/prometheus/compliance, remotewrite/receiver, in other words.
"""

import gzip
import itertools
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import cramjam
import pytest

from tests.collector.receiving import (
    AT,
    BEFORE,
    CLASS,
    LOCATION,
    MESSAGES,
    UPLINK,
    V1,
    V2,
    Labels,
    Receiver,
    Said,
    counts,
    of,
    packed,
    receiving,
)
from tests.wire.specification import WriteRequest

BOTH = pytest.mark.parametrize("version", [V1, V2])
# How Prometheus marks a series that ended (model/value/value.go).
(STALE,) = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))
NO_VALUES = {
    "NaN": math.nan,
    "StaleNaN": STALE,
    "Inf": math.inf,
    "-Inf": -math.inf,
    "negative": -1.0,
    "barely negative": -5e-324,
}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver")) as started:
        yield started


# ---- values ----


@BOTH
@pytest.mark.parametrize("value", [1.0, 0.0, 5e-324, 0.1, 2.0**53 + 2, 1e308])
def test_a_value_is_stored_to_the_bit(receiver: Receiver, version: str, value: float) -> None:
    node = receiver.node()

    answer = receiver.say(node, version, of(node, value=value))

    receiver.has_taken(node, version, answer, {AT: {UPLINK: value}})


@BOTH
@pytest.mark.parametrize("value", NO_VALUES)
@pytest.mark.parametrize("beside", [[], [CLASS]], ids=["alone", "beside a good one"])
def test_what_no_total_can_be_is_refused_whole(
    receiver: Receiver, version: str, value: str, beside: list[str]
) -> None:
    node = receiver.node()
    good = [of(node, name, word="wireguard") for name in beside]

    answer = receiver.say(node, version, *good, of(node, value=NO_VALUES[value]))

    receiver.has_refused(node, version, answer, "not a finite number from 0 on")


@BOTH
def test_a_stale_marker_crosses_the_network_as_one(version: str) -> None:
    message = MESSAGES[version]([of("node-0", value=STALE)])

    assert (0x7FF0000000000002).to_bytes(8, "little") in message


# ---- labels ----


def labels(**changed: str | None) -> Callable[[str], Labels]:
    """Return what changes the labels of a good series; None takes one out."""

    def of_node(node: str) -> Labels:
        said: dict[str, str | None] = dict(of(node).labels)
        said |= changed
        return tuple(sorted((name, value) for name, value in said.items() if value is not None))

    return of_node


def after(*more: tuple[str, str]) -> Callable[[str], Labels]:
    """Return what puts *more* behind the labels of a good series."""
    return lambda node: (*of(node).labels, *more)


BAD_LABELS: dict[str, tuple[Callable[[str], Labels], str]] = {
    "no labels": (lambda _: (), "without a name"),
    "no name": (labels(__name__=None), "without a name"),
    "an empty name": (labels(__name__=""), "without a name"),
    "a name with dots": (labels(__name__="a.b.c"), "not a metric of trafficd"),
    "a name with a space": (labels(__name__=f"{UPLINK} "), "not a metric of trafficd"),
    "a name with a newline": (labels(__name__=f"{UPLINK}\n"), "not a metric of trafficd"),
    "a foreign name": (labels(__name__="up"), "'up': not a metric of trafficd"),
    "a name in another script": (labels(__name__="tr\u0430fficd_x"), "not a metric of trafficd"),
    "more labels": (labels(instance="192.0.2.1:9787", job="vpn"), "label 'instance'"),
    "a label with a dot": (labels(**{"a.b": "c"}), "label 'a.b'"),
    "a label with a newline": (labels(**{"a\nb": "c"}), "label 'a\\nb'"),
    "a label without a name": (after(("", "x")), "label ''"),
    "an empty label more": (labels(job=""), "label 'job'"),
    "a class where none belongs": (labels(**{"class": "wireguard"}), "label 'class'"),
    "a label twice": (after(("location", LOCATION)), "a label stands twice"),
    "a label twice, otherwise": (after(("location", "oslo")), "a label stands twice"),
    "a name twice": (after(("__name__", UPLINK)), "a label stands twice"),
    "no node": (labels(node=None), "label node: missing"),
    "an empty node": (labels(node=""), "this credential is for"),
    "another node": (labels(node="node-499"), "'node-499': this credential is for"),
    "no location": (labels(location=None), "label location: missing"),
    "another location": (labels(location="oslo"), "'oslo': this credential is for frankfurt"),
    "no class": (labels(__name__=CLASS), "label class: missing"),
    **{
        f"class {word!r}": (labels(__name__=CLASS, **{"class": word}), "lower-case word")
        for word in (
            *("", "Wireguard", "wire guard", "wireguard\n", "wire.guard", "192.0.2.7", "a" * 33),
            *("2001:db8::7", "anna@example.org", "w\u0456reguard", "9a"),
        )
    },
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("what", BAD_LABELS)
def test_labels_that_no_release_has_are_refused_by_name(
    receiver: Receiver, version: str, what: str
) -> None:
    node = receiver.node()
    changed, reason = BAD_LABELS[what]

    answer = receiver.say(node, version, Said(changed(node)))

    receiver.has_refused(node, version, answer, reason)


@BOTH
@pytest.mark.parametrize("value", NO_VALUES)
@pytest.mark.parametrize("what", ["no labels", "no name", "an empty name", "a name with dots"])
def test_two_things_wrong_are_no_right_one(
    receiver: Receiver, version: str, what: str, value: str
) -> None:
    node = receiver.node()
    changed, reason = BAD_LABELS[what]

    answer = receiver.say(node, version, Said(changed(node), [(AT * 1000, NO_VALUES[value])]))

    receiver.has_refused(node, version, answer, reason)


@BOTH
def test_labels_in_any_order_are_the_same_series(receiver: Receiver, version: str) -> None:
    node = receiver.node()
    orders = itertools.permutations(of(node, CLASS, word="l2tp").labels)
    said = [Said(order, [((AT - 300 * n) * 1000, 1.0 + n)]) for n, order in enumerate(orders)]

    answer = receiver.say(node, version, *said)

    stored = {AT - 300 * n: {f'{CLASS}{{class="l2tp"}}': 1.0 + n} for n in range(24)}
    receiver.has_taken(node, version, answer, stored)


# ---- messages of several series ----


@BOTH
def test_several_series_and_times_are_stored_each(receiver: Receiver, version: str) -> None:
    node = receiver.node()
    said = [
        of(node, value=3.0),
        of(node, CLASS, 2.0, word="wireguard"),
        of(node, CLASS, 4.0, word="openvpn"),
        of(node, value=1.0, at=BEFORE),
    ]

    answer = receiver.say(node, version, *said)

    stored = {
        BEFORE: {UPLINK: 1.0},
        AT: {UPLINK: 3.0, f'{CLASS}{{class="openvpn"}}': 4.0, f'{CLASS}{{class="wireguard"}}': 2.0},
    }
    receiver.has_taken(node, version, answer, stored)


@BOTH
@pytest.mark.parametrize("is_ordered", [True, False])
def test_many_samples_of_a_series_are_stored_in_whatever_order(
    receiver: Receiver, version: str, *, is_ordered: bool
) -> None:
    node = receiver.node()
    samples = [((AT - 300 * n) * 1000, 500.0 - n) for n in range(100)]
    said = Said(of(node).labels, samples[::-1] if is_ordered else samples[1::2] + samples[::2])

    answer = receiver.say(node, version, said)

    stored = {time // 1000: {UPLINK: value} for time, value in samples}
    receiver.has_taken(node, version, answer, stored)


@BOTH
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("what", ["no labels", "no name", "an empty name", "a foreign name"])
def test_good_series_beside_a_bad_one_are_not_stored(
    receiver: Receiver, version: str, what: str, place: int
) -> None:
    node = receiver.node()
    changed, reason = BAD_LABELS[what]
    said = [of(node), of(node, CLASS, word="l2tp")]
    said.insert(place, Said(changed(node)))

    answer = receiver.say(node, version, *said)

    receiver.has_refused(node, version, answer, reason)


@BOTH
def test_the_same_message_twice_is_stored_once(receiver: Receiver, version: str) -> None:
    node = receiver.node()

    receiver.say(node, version, of(node))
    answer = receiver.say(node, version, of(node))

    receiver.has_taken(node, version, answer, {AT: {UPLINK: 1.0}})


@BOTH
def test_another_value_for_what_is_stored_is_refused_with_both(
    receiver: Receiver, version: str
) -> None:
    node = receiver.node()
    receiver.say(node, version, of(node, value=1.0))

    answer = receiver.say(node, version, of(node, CLASS, word="l2tp"), of(node, value=2.5))

    assert (answer.status, answer.counts) == (400, counts(version, 0))
    assert "2.5" in answer.body
    assert "which has 1:" in answer.body
    assert receiver.stored(node) == {AT: {UPLINK: 1.0}}


@BOTH
@pytest.mark.parametrize(
    ("milliseconds", "reason"),
    [
        (0, "off the grid"),
        (-300_000, "off the grid"),
        (AT * 1000 + 1, "off the grid"),
        (AT, "off the grid"),
        (AT * 1000 + 60_000, "off the grid"),
        ((AT + 86_400) * 1000, "ahead of this clock"),
        (1 << 62, "off the grid"),
    ],
)
def test_a_time_that_is_no_grid_point_until_now_is_refused(
    receiver: Receiver, version: str, milliseconds: int, reason: str
) -> None:
    node = receiver.node()

    answer = receiver.say(node, version, Said(of(node).labels, [(milliseconds, 1.0)]))

    receiver.has_refused(node, version, answer, reason)


# ---- what is no sample ----


@BOTH
def test_a_message_without_series_is_taken(receiver: Receiver, version: str) -> None:
    node = receiver.node()

    answer = receiver.say(node, version)

    receiver.has_taken(node, version, answer, {})


@BOTH
def test_a_series_without_data_is_refused(receiver: Receiver, version: str) -> None:
    node = receiver.node()
    empty = Said(of(node).labels, [], metadata=(1, "Bytes.", "bytes"))

    answer = receiver.say(node, version, of(node), empty)

    receiver.has_refused(node, version, answer, "series 1: no sample")


def test_metadata_alone_is_taken_and_not_kept(receiver: Receiver) -> None:
    node = receiver.node()
    request = WriteRequest()
    request.metadata.add(type=1, metric_family_name="up", help="Up.", unit="")

    answer = receiver.push(node, V1, packed(request.SerializeToString()))

    receiver.has_taken(node, V1, answer, {})


@BOTH
@pytest.mark.parametrize("kind", range(9))
@pytest.mark.parametrize("text", ["", "Bytes.", 'Quotes ", \\, a\nline and \u00fc.'])
def test_metadata_beside_a_sample_changes_nothing(
    receiver: Receiver, version: str, kind: int, text: str
) -> None:
    node = receiver.node()
    said = replace(of(node), metadata=(kind, text, "bytes" if text else ""))

    answer = receiver.say(node, version, said)

    receiver.has_taken(node, version, answer, {AT: {UPLINK: 1.0}})


@pytest.mark.parametrize("started", [1, (AT - 86_400) * 1000, AT * 1000, (AT + 1) * 1000])
def test_a_created_timestamp_changes_nothing(receiver: Receiver, started: int) -> None:
    node = receiver.node()

    answer = receiver.say(node, V2, replace(of(node), started=started))

    receiver.has_taken(node, V2, answer, {AT: {UPLINK: 1.0}})


TRACE = (("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),)
EXEMPLARS: dict[str, list[Labels]] = {
    "one with a trace": [TRACE],
    "one with a span as well": [(*TRACE, ("span_id", "00f067aa0ba902b7"))],
    "one without labels": [()],
    "one with odd labels": [(("client", "anna@example.org\n\u00fc"), ("ip", "192.0.2.7"))],
    "several": [TRACE, (), TRACE],
}


@BOTH
@pytest.mark.parametrize("what", EXEMPLARS)
@pytest.mark.parametrize("has_sample", [True, False])
def test_exemplars_are_refused_with_their_count(
    receiver: Receiver, version: str, what: str, *, has_sample: bool
) -> None:
    node = receiver.node()
    samples = [(AT * 1000, 1.0)] if has_sample else []
    said = Said(of(node, CLASS, word="l2tp").labels, samples, EXEMPLARS[what])

    answer = receiver.say(node, version, of(node), said)

    reason = f"series 1: {len(EXEMPLARS[what])} exemplars: only samples"
    receiver.has_refused(node, version, answer, reason)


@BOTH
@pytest.mark.parametrize("count", [1, 3, 100])
@pytest.mark.parametrize("has_sample", [True, False])
def test_native_histograms_are_refused_with_their_count(
    receiver: Receiver, version: str, count: int, *, has_sample: bool
) -> None:
    node = receiver.node()
    samples = [(AT * 1000, 1.0)] if has_sample else []
    said = Said(of(node).labels, samples, histograms=count, started=1, metadata=(3, "", ""))

    answer = receiver.say(node, version, of(node, CLASS, word="l2tp"), said)

    receiver.has_refused(node, version, answer, f"series 1: {count} histograms: only samples")


# ---- bodies, types and encodings ----

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "noise": lambda _: b"no snappy block",
    "not packed": lambda message: message,
    "cut off": lambda message: packed(message)[:-1],
    "with a byte more": lambda message: packed(message) + b"x",
    "in frames": lambda message: bytes(cramjam.snappy.compress(message)),
    "zipped": gzip.compress,
    "packed noise": lambda _: packed(b"no protobuf message"),
    "a message cut off": lambda message: packed(message[:-1]),
    "packed twice": lambda message: packed(packed(message)),
}

# Of these, no message comes out at all.
NO_BLOCKS = ("nothing", "noise", "not packed", "cut off", "with a byte more", "in frames", "zipped")


@BOTH
@pytest.mark.parametrize("how", PACKINGS)
def test_a_corrupt_body_is_refused(receiver: Receiver, version: str, how: str) -> None:
    node = receiver.node()

    answer = receiver.push(node, version, PACKINGS[how](MESSAGES[version]([of(node)])))

    receiver.has_refused(
        node, version, answer, "snappy: " if how in NO_BLOCKS else f"remote write {version}"
    )


@pytest.mark.parametrize(("version", "other"), [(V1, V2), (V2, V1)])
def test_a_message_of_the_other_version_is_refused_and_not_lost(
    receiver: Receiver, version: str, other: str
) -> None:
    node = receiver.node()

    answer = receiver.push(node, version, packed(MESSAGES[other]([of(node)])))

    receiver.has_refused(node, version, answer, f"a message of remote write {other}")


@BOTH
@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "image/png", "text/plain", "application/octet-stream", "*/*", None),
        *("application/x-protobuf;proto=io.prometheus.write.v3.Request", "application/protobuf"),
        *("application/x-protobuf;proto=", "application/x-protobufs"),
    ],
)
def test_another_type_is_told_those_that_are_taken(
    receiver: Receiver, version: str, content_type: str | None
) -> None:
    node = receiver.node()
    body = packed(MESSAGES[version]([of(node)]))

    answer = receiver.push(node, version, body, Content_Type=content_type)

    assert answer.status == 415
    assert "application/x-protobuf;proto=io.prometheus.write.v2.Request" in answer.body
    assert receiver.stored(node) == {}
    receiver.has_taken(node, version, receiver.say(node, version, of(node)), {AT: {UPLINK: 1.0}})


ENCODINGS: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": lambda message: message,
    "zstd": lambda message: bytes(cramjam.zstd.compress(message)),
    "x-snappy-framed": lambda message: bytes(cramjam.snappy.compress(message)),
    "gzip, snappy": lambda message: packed(gzip.compress(message)),
    None: packed,
}


@BOTH
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_encoding_is_told_the_one_that_is_taken(
    receiver: Receiver, version: str, encoding: str | None
) -> None:
    node = receiver.node()
    body = ENCODINGS[encoding](MESSAGES[version]([of(node)]))

    answer = receiver.push(node, version, body, Content_Encoding=encoding)

    assert answer.status == 415
    assert "Content-Encoding: snappy" in answer.body
    assert receiver.stored(node) == {}
    receiver.has_taken(node, version, receiver.say(node, version, of(node)), {AT: {UPLINK: 1.0}})


@BOTH
@pytest.mark.parametrize("said", ["0.1.0", "2.0.0", "1.0.0", "9.9", "", None])
def test_the_message_is_what_its_type_says_whatever_the_version_header_says(
    receiver: Receiver, version: str, said: str | None
) -> None:
    node = receiver.node()
    body = packed(MESSAGES[version]([of(node)]))

    answer = receiver.push(node, version, body, X_Prometheus_Remote_Write_Version=said)

    receiver.has_taken(node, version, answer, {AT: {UPLINK: 1.0}})
