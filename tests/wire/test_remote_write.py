"""A release as a remote-write message: what the specification says it is, and always as long."""

import re
import struct

import cramjam
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_series import RELEASE
from tests.wire.specification import Request, WriteRequest, said
from trafficd.series import series_of
from trafficd.wire.remote_write import HEADERS, Layout, Protocol, can_be_sent, stored_block

SERIES = [series for series, _ in series_of(RELEASE)]
VALUES = [value for _, value in series_of(RELEASE)]
AT = 1_795_484_400
LAYOUTS = {each: Layout("fra-17", "frankfurt", SERIES, each) for each in Protocol}
MOST_VALUES = st.lists(
    st.floats(0, 2**80, allow_subnormal=True), min_size=len(SERIES), max_size=len(SERIES)
)


@pytest.mark.parametrize("protocol", Protocol)
def test_a_message_says_the_release_to_whoever_reads_the_specification(protocol: Protocol) -> None:
    message = LAYOUTS[protocol].pack(AT, VALUES)

    found = said(message, is_second=protocol is Protocol.V2)
    assert found == [
        (
            {
                "__name__": series.name,
                **dict(series.labels),
                "location": "frankfurt",
                "node": "fra-17",
            },
            [(AT * 1000, value)],
        )
        for series, value in zip(SERIES, VALUES, strict=True)
    ]


def pairs(message: bytes, protocol: Protocol) -> list[list[tuple[str, str]]]:
    """Return the labels of each series as they stand there, whatever stands twice."""
    if protocol is Protocol.V1:
        request = WriteRequest.FromString(message)
        return [[(each.name, each.value) for each in one.labels] for one in request.timeseries]
    request = Request.FromString(message)
    words = [[request.symbols[each] for each in one.labels_refs] for one in request.timeseries]
    return [list(zip(each[::2], each[1::2], strict=True)) for each in words]


@pytest.mark.parametrize("protocol", Protocol)
def test_labels_are_sorted_and_well_formed_and_none_stands_twice(protocol: Protocol) -> None:
    found = pairs(LAYOUTS[protocol].pack(AT, VALUES), protocol)

    assert len({tuple(each) for each in found}) == len(found) == len(SERIES)
    for labels in found:
        names = [name for name, _ in labels]
        # "MUST be sorted lexicographically", "MUST NOT contain any repeated label names", and
        # neither a name nor a value may be empty.
        assert names == sorted(set(names))
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", each) for each in names)
        assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", dict(labels)["__name__"])
        assert all(value for _, value in labels)


@pytest.mark.parametrize("protocol", Protocol)
def test_a_message_holds_samples_and_nothing_that_its_version_does_not_have(
    protocol: Protocol,
) -> None:
    definition = Request if protocol is Protocol.V2 else WriteRequest
    request = definition.FromString(LAYOUTS[protocol].pack(AT, VALUES))
    every = [request, *request.timeseries]
    every += [each for series in request.timeseries for each in series.samples]
    if protocol is Protocol.V1:
        every += [each for series in request.timeseries for each in series.labels]
        assert not request.metadata
    else:
        every += [series.metadata for series in request.timeseries]

    # A table of symbols is a field that the first version does not know, and so on.
    assert not any(len(UnknownFieldSet(each)) for each in every)
    for series in request.timeseries:
        assert len(series.samples) == 1
        assert not series.histograms
        assert not series.exemplars


def test_the_second_version_has_no_symbol_that_nothing_refers_to() -> None:
    request = Request.FromString(LAYOUTS[Protocol.V2].pack(AT, VALUES))

    used = {each for series in request.timeseries for each in series.labels_refs}
    used |= {series.metadata.help_ref for series in request.timeseries}
    assert used | {0} == set(range(len(request.symbols)))
    assert 0 not in used


def test_the_second_version_has_one_symbol_for_a_word_and_types_of_metrics() -> None:
    request = Request.FromString(LAYOUTS[Protocol.V2].pack(AT, VALUES))

    assert request.symbols[0] == ""
    assert len(set(request.symbols)) == len(request.symbols)
    types = {
        request.symbols[series.labels_refs[1]]: series.metadata.type
        for series in request.timeseries
    }
    # COUNTER, GAUGE and HISTOGRAM of io.prometheus.write.v2.Metadata.MetricType.
    assert types["trafficd_uplink_receive_bytes_total"] == 1
    assert types["trafficd_release_timestamp_seconds"] == 2
    assert types["trafficd_uplink_utilisation_ratio_bucket"] == 3
    assert all(request.symbols[each.metadata.help_ref] for each in request.timeseries)


@pytest.mark.parametrize("protocol", Protocol)
@given(values=MOST_VALUES, at=st.integers(10**8, 4 * 10**9))
@settings(max_examples=30)
def test_all_values_come_back_exactly_from_messages_of_one_size(
    protocol: Protocol, values: list[float], at: int
) -> None:
    message = LAYOUTS[protocol].pack(at, values)

    found = said(message, is_second=protocol is Protocol.V2)
    assert [samples for _, samples in found] == [[(at * 1000, value)] for value in values]
    assert len(message) == len(LAYOUTS[protocol].pack(AT, VALUES))
    assert LAYOUTS[protocol].unpack(b"fra-17", message) == (at * 1000, tuple(values))


@pytest.mark.parametrize("protocol", Protocol)
def test_a_block_holds_the_message_and_is_as_long_whatever_is_in_it(protocol: Protocol) -> None:
    layout = LAYOUTS[protocol]
    blocks = [
        stored_block(layout.pack(AT, values))
        for values in ([0.0] * len(SERIES), [2.0**79] * len(SERIES), VALUES)
    ]

    assert [bytes(cramjam.snappy.decompress_raw(each)) for each in blocks[2:]] == [
        layout.pack(AT, VALUES)
    ]
    assert len({len(each) for each in blocks}) == 1


@given(st.binary(max_size=200_000))
@settings(max_examples=30)
def test_any_bytes_come_back_from_a_block(message: bytes) -> None:
    assert bytes(cramjam.snappy.decompress_raw(stored_block(message))) == message


@given(st.data())
@settings(max_examples=200)
def test_a_message_that_differs_in_more_than_values_and_time_does_not_fit(
    data: st.DataObject,
) -> None:
    layout = LAYOUTS[Protocol.V1]
    message = layout.pack(AT, VALUES)
    place = data.draw(st.integers(0, len(message) - 1))
    changed = bytearray(message)
    changed[place] ^= data.draw(st.integers(1, 255))

    found = layout.unpack(b"fra-17", bytes(changed))

    # Whoever reads all of it says what it is; the layout agrees, or does not know.
    if found is not None:
        time, values = found
        read = said(bytes(changed), is_second=False)
        assert [labels for labels, _ in read] == [
            labels for labels, _ in said(message, is_second=False)
        ]
        # By their bits, since NaN equals nothing.
        assert [struct.pack("<qd", *sample) for _, (sample,) in read] == [
            struct.pack("<qd", time, value) for value in values
        ]


def test_the_name_of_another_node_does_not_fit() -> None:
    layout = LAYOUTS[Protocol.V1]
    other = Layout("fra-18", "frankfurt", SERIES, Protocol.V1).pack(AT, VALUES)

    assert layout.unpack(b"fra-17", other) is None
    # Whose name is as long shares the layout.
    assert layout.unpack(b"fra-18", other) == (AT * 1000, tuple(VALUES))


@pytest.mark.parametrize("at", [0, 10**7, 5 * 10**9, -1])
def test_a_time_that_no_clock_shows_is_refused_before_it_makes_a_message_longer(at: int) -> None:
    assert not can_be_sent(at)
    with pytest.raises(ValueError, match="1971"):
        LAYOUTS[Protocol.V1].pack(at, VALUES)


def test_the_headers_are_those_of_the_specifications() -> None:
    first, second = HEADERS[Protocol.V1], HEADERS[Protocol.V2]

    assert first["Content-Type"] == "application/x-protobuf"
    assert first["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert second["Content-Type"] == "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert second["X-Prometheus-Remote-Write-Version"] == "2.0.0"
    assert {each["Content-Encoding"] for each in (first, second)} == {"snappy"}
    assert all(each["User-Agent"].startswith("trafficd/") for each in (first, second))


def test_a_block_that_is_longer_than_a_literal_can_be_has_several() -> None:
    block = stored_block(b"x" * 65_537)

    # Its length, 65,537, in three bytes; a literal of 65,536 bytes, and one of a byte.
    assert block[:6] == b"\x81\x80\x04" + struct.pack("<BH", 61 << 2, 65_535)
    assert block[-2:] == b"\0x"
    assert len(block) == 3 + 3 + 65_536 + 1 + 1
