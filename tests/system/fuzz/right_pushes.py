"""Has schemathesis know right pushes, which no schema can describe; it loads this as its hooks."""

import importlib
import time
from typing import Any

import cramjam
from hypothesis import strategies as st

from tests.collector.fuzzing import NODE
from tests.wire.specification import Sent, first_version, said, second_version

# Only this program needs it, in an environment of its own.
schemathesis: Any = importlib.import_module("schemathesis")

_GRID_SECONDS = 300
_NEWEST = int(time.time()) // _GRID_SECONDS
_SERIES = (
    {"__name__": "trafficd_uplink_receive_bytes_total"},
    {"__name__": "trafficd_class_transmit_bytes_total", "class": "wireguard"},
)


def _sent(back: int) -> list[Sent]:
    """Return what the node says of a time: always the same, or it would be refused."""
    at = (_NEWEST - back) * _GRID_SECONDS
    whose = {"node": NODE.name, "location": NODE.location}
    return [({**each, **whose}, [(at * 1000, float(at << 20))]) for each in _SERIES]


def _packed(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))


def before_call(_context: Any, case: Any, _arguments: Any) -> None:
    """Write the push as its type says, of which schemathesis' register knows no parameters."""
    if "write.v2" in (case.media_type or "") and isinstance(case.body, bytes):
        sent = said(bytes(cramjam.snappy.decompress_raw(case.body)), is_second=False)
        case.body = _packed(second_version(sent))


schemathesis.openapi.media_type(
    "application/x-protobuf", st.integers(0, 1000).map(_sent).map(first_version).map(_packed)
)
schemathesis.hook(before_call)
