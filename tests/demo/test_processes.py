"""The processes of the demo and its ports."""

import os
import signal
import socket
import time
from functools import partial
from pathlib import Path

import pytest

from trafficd.demo.app import free_ports
from trafficd.demo.processes import Family
from trafficd.errors import HalfEndedError, TrafficdError


def wait_for(family: Family, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if family.wait(0.5):
            return True
    return False


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_a_process_that_fails_is_named_with_its_reason() -> None:
    def fail() -> None:
        raise TrafficdError("no luck")

    with Family.together() as family:
        family.start("reader of fra-1", fail, keep=[])
        with pytest.raises(TrafficdError, match=r"^the reader of fra-1 ended: no luck$"):
            wait_for(family)


def test_the_process_that_ended_first_is_named_and_not_the_one_that_followed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def follow() -> None:
        ours.recv(1)
        raise HalfEndedError("the other is gone")

    with Family.together() as family, ours, theirs:
        family.start("exporter of fra-1", follow, keep=[ours.fileno()])
        family.start("reader of fra-1", partial(os._exit, 1), keep=[theirs.fileno()])
        theirs.close()
        with pytest.raises(TrafficdError, match=r"^the reader of fra-1 ended$"):
            wait_for(family)


def test_a_signal_ends_the_waiting_and_no_process_is_left() -> None:
    before = children()

    with Family.together() as family:
        family.start("laboratory", signal.pause, keep=[])
        os.kill(os.getpid(), signal.SIGINT)
        assert wait_for(family)
        assert children() != before

    assert children() == before


def test_a_process_holds_no_descriptor_but_those_it_is_given() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def list_descriptors() -> None:
        theirs.send(" ".join(entry.name for entry in Path("/proc/self/fd").iterdir()).encode())
        signal.pause()

    with Family.together() as family, ours, theirs:
        family.start("laboratory", list_descriptors, keep=[theirs.fileno()])
        ours.settimeout(20)
        held = {int(number) for number in ours.recv(4096).split()}
        given = {0, 1, 2, theirs.fileno()}
        # One says why it ended, and one listed them.
        assert len(held - given) <= 2
        assert given <= held


def test_ports_that_are_taken_are_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]

        ports = free_ports(first, 2)

    assert first not in ports
    assert len(set(ports)) == 2
    assert all(port > first for port in ports)


def test_too_few_ports_is_one_line() -> None:
    with pytest.raises(TrafficdError, match=r"^--port 65535: too few free ports from there on$"):
        free_ports(65535, 2)
