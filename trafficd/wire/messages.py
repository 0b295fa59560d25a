"""Remote-write messages of anybody, read by Google's protobuf runtime.

The definitions have the specification's numbers. What a message tells about metrics is read and not
looked at; histograms and exemplars are counted and refused, since they are data.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and .../remote_write_spec_2_0/.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from trafficd.errors import MessageRefusedError, Refused
from trafficd.wire.remote_write import Protocol

_Field = descriptor_pb2.FieldDescriptorProto
_DOUBLE, _INT64, _STRING = _Field.TYPE_DOUBLE, _Field.TYPE_INT64, _Field.TYPE_STRING
_UINT32, _MESSAGE, _BYTES = _Field.TYPE_UINT32, _Field.TYPE_MESSAGE, _Field.TYPE_BYTES
# An enumeration is a number on the wire, known or not.
_ENUM = _Field.TYPE_INT32

# A field: its name, number and type, whether it repeats, and the message it holds.
_FieldRow = tuple[str, int, Any, bool, str]
_DEFINITIONS: dict[Protocol, dict[str, tuple[_FieldRow, ...]]] = {
    Protocol.V1: {
        "WriteRequest": (
            ("timeseries", 1, _MESSAGE, True, "TimeSeries"),
            ("metadata", 3, _MESSAGE, True, "MetricMetadata"),
        ),
        "MetricMetadata": (
            ("type", 1, _ENUM, False, ""),
            ("metric_family_name", 2, _STRING, False, ""),
            ("help", 4, _STRING, False, ""),
            ("unit", 5, _STRING, False, ""),
        ),
        "TimeSeries": (
            ("labels", 1, _MESSAGE, True, "Label"),
            ("samples", 2, _MESSAGE, True, "Sample"),
            # Nothing of them is looked at.
            ("exemplars", 3, _BYTES, True, ""),
            ("histograms", 4, _BYTES, True, ""),
        ),
        "Label": (("name", 1, _STRING, False, ""), ("value", 2, _STRING, False, "")),
        "Sample": (("value", 1, _DOUBLE, False, ""), ("timestamp", 2, _INT64, False, "")),
    },
    Protocol.V2: {
        "Request": (
            ("symbols", 4, _STRING, True, ""),
            ("timeseries", 5, _MESSAGE, True, "TimeSeries"),
        ),
        "TimeSeries": (
            ("labels_refs", 1, _UINT32, True, ""),
            ("samples", 2, _MESSAGE, True, "Sample"),
            ("histograms", 3, _BYTES, True, ""),
            ("exemplars", 4, _BYTES, True, ""),
            ("metadata", 5, _MESSAGE, False, "Metadata"),
        ),
        "Metadata": (
            ("type", 1, _ENUM, False, ""),
            ("help_ref", 3, _UINT32, False, ""),
            ("unit_ref", 4, _UINT32, False, ""),
        ),
        "Sample": (("value", 1, _DOUBLE, False, ""), ("timestamp", 2, _INT64, False, "")),
    },
}
_PACKAGES = {Protocol.V1: "prometheus", Protocol.V2: "io.prometheus.write.v2"}
_ROOTS = {Protocol.V1: "WriteRequest", Protocol.V2: "Request"}


@dataclass(frozen=True, slots=True)
class Point:
    """One sample as it was sent, with all its labels.

    Units: *time* is UTC milliseconds.
    """

    labels: dict[str, str]
    time: int
    value: float


def read_message(message: bytes, protocol: Protocol) -> list[Point]:
    """Return all samples in *message*, in its order.

    Raises: MessageRefusedError if it is not a message of *protocol*, or holds what is not a sample.
    """
    try:
        request = _CLASSES[protocol].FromString(message)
    except DecodeError as error:
        raise _malformed(f"not a protobuf message of remote write {protocol}") from error
    points: list[Point] = []
    symbols = list(request.symbols) if protocol is Protocol.V2 else []
    if symbols and symbols[0]:
        raise _malformed("the first symbol is not the empty one")
    for number, series in enumerate(request.timeseries):
        for what in ("histograms", "exemplars"):
            if count := len(getattr(series, what)):
                raise MessageRefusedError(
                    f"series {number}: {count} {what}: only samples are taken here", Refused.SERIES
                )
        pairs = (
            [(label.name, label.value) for label in series.labels]
            if protocol is Protocol.V1
            else list(_resolved(series.labels_refs, symbols, number))
        )
        labels = dict(pairs)
        if len(labels) < len(pairs):
            raise MessageRefusedError(f"series {number}: a label stands twice", Refused.SERIES)
        if not series.samples:
            raise MessageRefusedError(f"series {number}: no sample", Refused.MALFORMED)
        points += (Point(labels, each.timestamp, each.value) for each in series.samples)
    return points


def _resolved(
    references: Sequence[int], symbols: Sequence[str], number: int
) -> Iterator[tuple[str, str]]:
    if len(references) % 2:
        raise _malformed(f"series {number}: an odd count of label references")
    if references and max(references) >= len(symbols):
        raise _malformed(f"series {number}: a label reference beyond the symbols")
    names, values = islice(references, 0, None, 2), islice(references, 1, None, 2)
    return ((symbols[name], symbols[value]) for name, value in zip(names, values, strict=True))


def _malformed(reason: str) -> MessageRefusedError:
    return MessageRefusedError(reason, Refused.MALFORMED)


def message_class(protocol: Protocol) -> Any:
    """Return the class of a whole message of *protocol*."""
    return _CLASSES[protocol]


def _defined(protocol: Protocol) -> Any:
    package = _PACKAGES[protocol]
    file = descriptor_pb2.FileDescriptorProto(
        name=f"trafficd/{protocol}.proto", package=package, syntax="proto3"
    )
    for name, fields in _DEFINITIONS[protocol].items():
        definition = file.message_type.add(name=name)
        for field, number, kind, is_repeated, holds in fields:
            definition.field.add(
                name=field,
                number=number,
                type=kind,
                label=_Field.LABEL_REPEATED if is_repeated else _Field.LABEL_OPTIONAL,
                type_name=f".{package}.{holds}" if holds else None,
            )
    # A pool of our own: another library may know these messages by the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    root = pool.FindMessageTypeByName(f"{package}.{_ROOTS[protocol]}")
    return message_factory.GetMessageClass(root)


_CLASSES = {protocol: _defined(protocol) for protocol in Protocol}
