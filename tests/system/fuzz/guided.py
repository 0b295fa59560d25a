"""Has ingest read what libFuzzer makes up, led by the lines of trafficd that each body reaches.

`python -m tests.system.fuzz.guided CORPUS [-runs=N ...]`, with atheris on the path; the options are
libFuzzer's (https://llvm.org/docs/LibFuzzer.html#options). An input is a byte that says what
follows, and that: a body, or a message that is made into one.
"""

import importlib
import random
import struct
import sys
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from tests.wire.specification import Request, WriteRequest

# Only this program needs it, in an environment of its own.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["trafficd"]):
    from tests.collector import fuzzing
    from trafficd.collector.ingest import Ingest
    from trafficd.collector.slices import Slice
    from trafficd.errors import MessageRefusedError
    from trafficd.wire.remote_write import Protocol, stored_block
    from trafficd.wire.snappy import unpacked

_SECOND_VERSION, _IS_BODY = 1, 2
_SEEDS, _SEED = 60, 7
_LONGEST_WORD = 64


def write_corpus(folder: Path) -> None:
    """Write right messages of both versions to begin with, and some with one thing wrong."""
    made = fuzzing.bodies(_SEED)
    for number in range(_SEEDS):
        protocol, message = next(made)
        version = _SECOND_VERSION if protocol is Protocol.V2 else 0
        Path(folder, f"{number}-message").write_bytes(bytes([version]) + message)
        block = stored_block(message)
        Path(folder, f"{number}-body").write_bytes(bytes([version | _IS_BODY]) + block)


class Target:
    """Reads each body twice: as a collector that just began, and as one that has read many."""

    def __init__(self) -> None:
        self._old = Ingest()

    def read(self, data: bytes) -> None:
        """Raise whatever reading *data* raises but a refusal, and AssertionError."""
        flags, rest = _opened(data)
        protocol = Protocol.V2 if flags & _SECOND_VERSION else Protocol.V1
        body = rest if flags & _IS_BODY else stored_block(rest)
        found = _read(Ingest(), body, protocol)
        assert _read(self._old, body, protocol) == found
        if isinstance(found, str):
            fuzzing.refuse_what_is_no_reason(found)
            return
        fuzzing.refuse_what_section_6_has_not(found)
        assert fuzzing.facts_of(found) == fuzzing.facts_said(unpacked(body), protocol)


def _opened(data: bytes) -> tuple[int, bytes]:
    return (data[0] if data else 0), data[1:]


def _read(ingest: Ingest, body: bytes, protocol: Protocol) -> list[Slice] | str:
    try:
        return ingest.read(fuzzing.NODE, unpacked(body), protocol, fuzzing.NOW)
    except MessageRefusedError as refusal:
        return str(refusal)


def changed(data: bytes, longest: int, seed: int) -> bytes:
    """Return *data* with any bytes changed, or, of a message, one thing that it says."""
    chance = random.Random(seed)
    flags, rest = _opened(data)
    if flags & _IS_BODY or chance.random() < 0.3:
        return bytes(atheris.Mutate(data, longest))
    is_second = bool(flags & _SECOND_VERSION)
    try:
        message = (Request if is_second else WriteRequest).FromString(rest)
    except DecodeError:
        return bytes(atheris.Mutate(data, longest))
    if not message.timeseries:
        return bytes(atheris.Mutate(data, longest))
    _change(message, chance, is_second=is_second)
    made = data[:1] + message.SerializeToString()
    return made if len(made) <= longest else data


def _change(message: Any, chance: random.Random, *, is_second: bool) -> None:
    series = chance.choice(message.timeseries)
    match chance.randrange(6):
        case 0 if series.samples:
            sample = chance.choice(series.samples)
            number = bytes(atheris.Mutate(struct.pack("<d", sample.value), 8))
            (sample.value,) = struct.unpack("<d", number.ljust(8, b"\0"))
        case 1 if series.samples:
            sample = chance.choice(series.samples)
            number = bytes(atheris.Mutate(struct.pack("<q", sample.timestamp), 8))
            (sample.timestamp,) = struct.unpack("<q", number.ljust(8, b"\0"))
        case 2:
            message.timeseries.add().CopyFrom(series)
        case 3:
            del message.timeseries[chance.randrange(len(message.timeseries))]
        case 4 if is_second and series.labels_refs:
            place = chance.randrange(len(series.labels_refs))
            series.labels_refs[place] = chance.randrange(len(message.symbols) + 2)
        case _ if is_second:
            place = chance.randrange(len(message.symbols) or 1)
            message.symbols[place:] = [
                _word(each) if not number else each
                for number, each in enumerate(message.symbols[place:])
            ]
        case _ if series.labels:
            label = chance.choice(series.labels)
            if chance.random() < 0.3:
                label.name = _word(label.name)
            else:
                label.value = _word(label.value)


def _word(word: str) -> str:
    return bytes(atheris.Mutate(word.encode(), _LONGEST_WORD)).decode(errors="ignore")


def main() -> None:
    """Fuzz until libFuzzer ends the process: with 0, or as it ends what found something."""
    write_corpus(Path(sys.argv[1]))
    atheris.Setup(sys.argv, Target().read, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
