"""The messages of remote write 1.0 and 2.0 as their specifications define them, whole.

Source: prompb/remote.proto and types.proto of the 1.0 specification, and
io/prometheus/write/v2/types.proto of 2.0.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_F = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "double": _F.TYPE_DOUBLE,
    "int64": _F.TYPE_INT64,
    "sint32": _F.TYPE_SINT32,
    "uint32": _F.TYPE_UINT32,
    "uint64": _F.TYPE_UINT64,
    "string": _F.TYPE_STRING,
    # An enumeration is a number on the wire.
    "enum": _F.TYPE_INT32,
}

V1 = """
WriteRequest: timeseries 1 *TimeSeries, metadata 3 *MetricMetadata
MetricMetadata: type 1 enum, metric_family_name 2 string, help 4 string, unit 5 string
TimeSeries: labels 1 *Label, samples 2 *Sample, exemplars 3 *Exemplar, histograms 4 *Histogram
Label: name 1 string, value 2 string
Sample: value 1 double, timestamp 2 int64
Exemplar: labels 1 *Label, value 2 double, timestamp 3 int64
Histogram: count_int 1 uint64, sum 3 double, schema 4 sint32, timestamp 15 int64
"""
V2 = """
Request: symbols 4 *string, timeseries 5 *TimeSeries
TimeSeries: labels_refs 1 *uint32, samples 2 *Sample, histograms 3 *Histogram, \
exemplars 4 *Exemplar, metadata 5 Metadata, created_timestamp 6 int64
Sample: value 1 double, timestamp 2 int64, start_timestamp 3 int64
Exemplar: labels_refs 1 *uint32, value 2 double, timestamp 3 int64
Metadata: type 1 enum, help_ref 3 uint32, unit_ref 4 uint32
Histogram: count_int 1 uint64, sum 3 double, schema 4 sint32, timestamp 15 int64
"""


def _root(text: str, package: str, root: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for line in text.strip().splitlines():
        name, _, fields = line.partition(": ")
        message = file.message_type.add(name=name)
        for each in fields.split(", "):
            field, number, kind = each.split()
            plain = kind.removeprefix("*")
            message.field.add(
                name=field,
                number=int(number),
                label=_F.LABEL_OPTIONAL if kind == plain else _F.LABEL_REPEATED,
                type=_KINDS.get(plain, _F.TYPE_MESSAGE),
                type_name=None if plain in _KINDS else f".{package}.{plain}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{root}"))


WriteRequest = _root(V1, "specified.v1", "WriteRequest")
Request = _root(V2, "specified.v2", "Request")

# A series: its labels, and its samples as (milliseconds, value).
Sent = tuple[Mapping[str, str], Sequence[tuple[int, float]]]


def first_version(series: Iterable[Sent]) -> bytes:
    """Return a 1.0 message with *series*, labels in the order in which they are given."""
    request = WriteRequest()
    for labels, samples in series:
        added = request.timeseries.add()
        for name, value in labels.items():
            added.labels.add(name=name, value=value)
        for time, number in samples:
            added.samples.add(timestamp=time, value=number)
    return bytes(request.SerializeToString())


def second_version(series: Iterable[Sent]) -> bytes:
    """Return a 2.0 message with *series*."""
    request = Request(symbols=[""])
    places = {"": 0}

    def place(symbol: str) -> int:
        if symbol not in places:
            places[symbol] = len(request.symbols)
            request.symbols.append(symbol)
        return places[symbol]

    for labels, samples in series:
        added = request.timeseries.add()
        for pair in labels.items():
            added.labels_refs.extend(map(place, pair))
        for time, number in samples:
            added.samples.add(timestamp=time, value=number)
    return bytes(request.SerializeToString())


def said(
    message: bytes, *, is_second: bool
) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
    """Return the series in a message, in its order."""
    request = (Request if is_second else WriteRequest).FromString(message)
    found = []
    for series in request.timeseries:
        if is_second:
            words = [request.symbols[each] for each in series.labels_refs]
            labels = dict(zip(words[::2], words[1::2], strict=True))
        else:
            labels = {label.name: label.value for label in series.labels}
        found.append((labels, [(each.timestamp, each.value) for each in series.samples]))
    return found
