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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trafficd.log import Message, say
from trafficd.service.lifeline import AgentEnd, open_lifeline

_FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
# Above any descriptor that is handed over, so that moving one never overwrites another.
_OUT_OF_THE_WAY = 256
_STOP_SECONDS = 5.0
# How soon a half that did not take a text is offered it again.
_OFFER_SECONDS = 0.2
# The name under which each half finds the socket whose other end is held here.
LIFELINE = "agent"
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Half:
    """One of the two: its name, the arguments of `trafficd`, and the sockets it is handed.

    Of *config*, it is handed down the text before each SIGHUP: it cannot open the file itself.
    """

    name: str
    arguments: Sequence[str]
    sockets: Mapping[str, socket.socket]
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class _Running:
    """A half that was started: its process, and our end of its lifeline."""

    half: Half
    process: int
    lifeline: AgentEnd


def run_halves(halves: Sequence[Half]) -> int:
    """Run *halves* until SIGTERM or SIGINT, or until one of them ends; pass SIGHUP on.

    The sockets are closed here once they are handed over. Returns the exit code: 0 after a signal,
    else that of the half that ended, or 1.
    """
    # Whoever started us may ignore it, and then nobody would be told of an end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    running = [_run(half) for half in halves]
    for half in halves:
        for each in half.sockets.values():
            each.close()
    return _watch(running)


def _watch(running: list[_Running]) -> int:
    while True:
        number = _next_signal(running)
        if number == signal.SIGHUP:
            _hang_up(running)
        elif number in (signal.SIGTERM, signal.SIGINT):
            _end(running)
            return 0
        elif (ended := _reap(running)) is not None:
            name, status = ended
            say(Message.HALF_ENDED, half=name)
            _end(running)
            return status if status > 0 else 1
        # Backwards: the exporter knows of a class before the reader can release it.
        for each in reversed(running):
            if each.lifeline.go_on():
                _send([each], signal.SIGHUP)


def _next_signal(running: Iterable[_Running]) -> int | None:
    """Return the next signal; or None soon, while something waits to be handed down."""
    if any(each.lifeline.is_waiting for each in running):
        received = signal.sigtimedwait(_WATCHED, _OFFER_SECONDS)
        return None if received is None else received.si_signo
    return signal.sigwait(_WATCHED)


def _hang_up(running: Iterable[_Running]) -> None:
    """Pass SIGHUP on, at once or behind the text that goes with it."""
    for each in running:
        if each.half.config is None:
            _send([each], signal.SIGHUP)
        else:
            each.lifeline.hand_down(each.half.config)


def _run(half: Half) -> _Running:
    # Held until this process ends in whatever way, which the half then sees.
    here, there = open_lifeline()
    with there:
        return _Running(half, _start(half, there), here)


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
        _close_from(_FIRST_DESCRIPTOR + len(moved))
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
            # -P: no module in the directory that the agent was started in is taken for ours.
            [sys.executable, "-P", "-m", "trafficd", *half.arguments],
            {**os.environ, **handed},
        )
    except OSError as error:
        os.write(2, f"trafficd: the {half.name} cannot be started: {error.strerror}\n".encode())
    finally:
        os._exit(1)


def _close_from(first: int) -> None:
    """Close what else is open, which whoever started the agent may have left to it."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number >= first:
            # The one that listed them is closed by now.
            with contextlib.suppress(OSError):
                os.close(number)


def _reap(running: list[_Running]) -> tuple[str, int] | None:
    """Return the name and exit status of a half that has ended, and forget it."""
    for each in running:
        ended, status = os.waitpid(each.process, os.WNOHANG)
        if ended:
            running.remove(each)
            each.lifeline.close()
            return each.half.name, os.waitstatus_to_exitcode(status)
    return None


def _end(running: list[_Running]) -> None:
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


def _send(running: Iterable[_Running], number: signal.Signals) -> None:
    for each in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.process, number)
