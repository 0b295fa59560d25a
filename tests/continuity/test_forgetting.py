"""After a session is gone and a checkpoint is written, neither its name nor its number is anywhere.

The reader's memory is searched from outside, as root can: all of it, and the state file.
"""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Namespace
from tests.continuity.supervised import Supervised, supervised
from tests.lab import TunSession, open_and_close_sessions

pytestmark = pytest.mark.kernel

NAME = "ppp-zq7xw9k"
# So large that no other number in a process is likely to be the same.
IFINDEX = 1_734_567_893


def encodings() -> dict[str, bytes]:
    """Return what a search looks for: as the kernel and as Python write a name and a number."""
    low, high = IFINDEX & (1 << 30) - 1, IFINDEX >> 30
    return {
        "name": NAME.encode(),
        "name, wide": NAME.encode("utf-16-le"),
        "name, wider": NAME.encode("utf-32-le"),
        "number": struct.pack("<I", IFINDEX),
        "number, network order": struct.pack(">I", IFINDEX),
        # CPython's int: digits of 30 bits.
        "number as an object": struct.pack("<II", low, high),
        "number in words": str(IFINDEX).encode(),
    }


def memory_of(process: int) -> Iterator[tuple[str, bytes]]:
    """Yield what stands in each mapping of *process*."""
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            place, rights, *rest = line.split(maxsplit=5)
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(each, 16) for each in place.split("-"))
            with contextlib.suppress(OSError):
                memory.seek(start)
                yield rest[-1].strip() if len(rest) == 4 else "", memory.read(end - start)


def found_in(process: int) -> dict[str, set[str]]:
    """Return in which mappings of *process* each encoding stands."""
    found: dict[str, set[str]] = {}
    for where, content in memory_of(process):
        for what, wanted in encodings().items():
            if wanted in content:
                found.setdefault(what, set()).add(where)
    return found


@contextlib.contextmanager
def counting(namespace: Namespace) -> Iterator[tuple[Supervised, int]]:
    with supervised(namespace.name, speed=100.0) as node:
        node.start()
        node.until(node.is_ready, "ready")
        yield node, node.process_id()


def test_the_search_finds_a_session_that_is_there(namespace: Namespace) -> None:
    with (
        counting(namespace) as (node, process),
        TunSession(namespace.name, NAME, ifindex=IFINDEX, rx_bytes=5_000),
    ):
        node.until_kept(2)
        found = found_in(process)

    # Its number is needed; its name is not, once it is classified.
    assert "number" in found
    assert "name" not in found


def test_a_session_that_is_gone_is_forgotten_with_the_next_checkpoint(
    namespace: Namespace,
) -> None:
    with counting(namespace) as (node, process):
        with TunSession(namespace.name, NAME, ifindex=IFINDEX, rx_bytes=5_000):
            node.until_kept(3)
        open_and_close_sessions(namespace.name, [100] * 5, prefix="ppp-b")
        node.until_kept(3)
        found = found_in(process)

    assert found == {}
