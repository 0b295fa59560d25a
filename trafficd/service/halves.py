"""Starts reader and exporter as two processes and ends both when one ends.

This is what systemd does for the two services; `trafficd agent` does it where there is no systemd.
"""

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trafficd.log import Message, say

_FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
# Above any descriptor that is handed over, so that moving one never overwrites another.
_OUT_OF_THE_WAY = 256
_STOP_SECONDS = 5.0
# The name under which each half finds the socket whose other end is held here.
LIFELINE = "agent"
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Half:
    """One of the two: its name, the arguments of `trafficd`, and the sockets it is handed."""

    name: str
    arguments: Sequence[str]
    sockets: Mapping[str, socket.socket]


def run_halves(halves: Sequence[Half]) -> int:
    """Run *halves* until SIGTERM or SIGINT, or until one of them ends; pass SIGHUP on.

    The sockets are closed here once they are handed over. Returns the exit code: 0 after a signal,
    else that of the half that ended, or 1.
    """
    # Whoever started us may ignore it, and then nobody would be told of an end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    # Held until this process ends in whatever way, which both halves see.
    here, theirs = socket.socketpair()
    running = {_start(half, theirs): half.name for half in halves}
    theirs.close()
    for half in halves:
        for each in half.sockets.values():
            each.close()
    with here:
        return _watch(running)


def _watch(running: dict[int, str]) -> int:
    while True:
        number = signal.sigwait(_WATCHED)
        if number == signal.SIGHUP:
            _send(running, signal.SIGHUP)
        elif number != signal.SIGCHLD:
            _end(running)
            return 0
        elif (ended := _reap(running)) is not None:
            name, status = ended
            say(Message.HALF_ENDED, half=name)
            _end(running)
            return status if status > 0 else 1


def _start(half: Half, lifeline: socket.socket) -> int:
    """Return the process of *half*."""
    process = os.fork()
    if process:
        return process
    sockets = {**half.sockets, LIFELINE: lifeline}
    try:
        moved = [
            fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, _OUT_OF_THE_WAY) for each in sockets.values()
        ]
        for number, descriptor in enumerate(moved):
            os.dup2(descriptor, _FIRST_DESCRIPTOR + number)
        os.closerange(_FIRST_DESCRIPTOR + len(moved), _OUT_OF_THE_WAY + len(moved) + 1)
        # Until the half listens to it, SIGHUP would end it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        handed = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(moved)),
            "LISTEN_FDNAMES": ":".join(sockets),
        }
        os.execve(  # noqa: S606  # our own interpreter, with arguments of our own
            sys.executable,
            [sys.executable, "-m", "trafficd", *half.arguments],
            {**os.environ, **handed},
        )
    except OSError as error:
        os.write(2, f"trafficd: the {half.name} cannot be started: {error.strerror}\n".encode())
    finally:
        os._exit(1)


def _reap(running: dict[int, str]) -> tuple[str, int] | None:
    """Return the name and exit status of a half that has ended, and forget it."""
    for process in list(running):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return running.pop(process), os.waitstatus_to_exitcode(status)
    return None


def _end(running: dict[int, str]) -> None:
    _send(running, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while running:
        left = deadline - time.monotonic()
        if left <= 0:
            _send(running, signal.SIGKILL)
            deadline = time.monotonic() + _STOP_SECONDS
            continue
        while _reap(running):
            pass  # two ends can come as one SIGCHLD
        if running:
            signal.sigtimedwait([signal.SIGCHLD], left)


def _send(running: Mapping[int, str], number: signal.Signals) -> None:
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
