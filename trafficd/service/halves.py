"""Runs reader and exporter as two processes, each started again when it ends.

This is what systemd does for the two services; `trafficd agent` does it where there is no systemd.
It holds what outlives a half, as systemd does: the queues of link events and the socket between the
halves. A half that fails as soon as it is first started would fail again: that ends the agent.
"""

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trafficd.errors import HalfEndedError
from trafficd.log import Message, say
from trafficd.service.lifeline import AgentEnd, open_lifeline
from trafficd.service.sockets import AGENT

_FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
# Above any descriptor that is handed over, so that moving one never overwrites another.
_OUT_OF_THE_WAY = 256
_STOP_SECONDS = 5.0
# How soon a half that did not take a text is offered it again.
_OFFER_SECONDS = 0.2
# A half that ends sooner, of itself and at its first start, would do so again.
_SETTLING_SECONDS = 10.0
_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Half:
    """One of the two: its name, the arguments of `trafficd`, and the sockets it is handed, by name.

    Of *config*, it is handed down the text at each SIGHUP: it cannot open the file itself.
    """

    name: str
    arguments: Sequence[str]
    sockets: Sequence[tuple[str, socket.socket]]
    config: Path | None = None


@dataclass(slots=True)
class _Running:
    """A half: its process, our end of its lifeline, and when it was started or is to be again."""

    half: Half
    process: int
    lifeline: AgentEnd
    started_at: float
    is_settled: bool = False
    pause_seconds: float = _SHORTEST_PAUSE_SECONDS
    due_at: float | None = None


def run_halves(halves: Sequence[Half]) -> int:
    """Run *halves* until SIGTERM or SIGINT, or until one of them cannot work; hand texts down.

    SIGHUP hands each the text of its configuration. The sockets stay open here.
    Returns the exit code: 0 after a signal, else that of the half that failed.
    """
    # Whoever started us may ignore it, and then nobody would be told of an end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    running = [_run(half) for half in halves]
    while True:
        number = _next_signal(running)
        if number == signal.SIGHUP:
            for each in running:
                if each.half.config is not None:
                    each.lifeline.hand_down(each.half.config)
        elif number in (signal.SIGTERM, signal.SIGINT):
            _end(running)
            return 0
        for each, status in _reap(running):
            if _is_hopeless(each, status):
                say(Message.HALF_FAILED, half=each.half.name)
                _end(running)
                return status
            say(Message.HALF_ENDED, half=each.half.name)
            _plan_restart(each)
        for each in running:
            if each.due_at is not None and time.monotonic() >= each.due_at:
                _restart(each)
        # Backwards: the exporter knows of a class before the reader can release it.
        for each in reversed(running):
            each.lifeline.go_on()


def _is_hopeless(ended: _Running, status: int) -> bool:
    """Tell whether a half never worked and would end the same way again.

    A signal and the other's end do not say so. Once both have worked, the other goes on: a file
    with mistakes keeps an exporter away until it is mended, and the reader counts.
    """
    is_own_failure = status > 0 and status != HalfEndedError.exit_code
    was_short = time.monotonic() - ended.started_at < _SETTLING_SECONDS
    return is_own_failure and was_short and not ended.is_settled


def _plan_restart(ended: _Running) -> None:
    lived = time.monotonic() - ended.started_at
    if lived >= _SETTLING_SECONDS:
        ended.is_settled = True
        ended.pause_seconds = _SHORTEST_PAUSE_SECONDS
    ended.due_at = time.monotonic() + ended.pause_seconds
    ended.pause_seconds = min(2 * ended.pause_seconds, _LONGEST_PAUSE_SECONDS)


def _restart(ended: _Running) -> None:
    started = _run(ended.half)
    ended.process, ended.lifeline = started.process, started.lifeline
    ended.started_at, ended.due_at = started.started_at, None


def _next_signal(running: Iterable[_Running]) -> int | None:
    """Return the next signal; None where a half is to be started or a text handed down first."""
    if any(each.lifeline.is_waiting for each in running):
        seconds = _OFFER_SECONDS
    else:
        due = [each.due_at for each in running if each.due_at is not None]
        if not due:
            return signal.sigwait(_WATCHED)
        seconds = max(0.0, min(due) - time.monotonic())
    received = signal.sigtimedwait(_WATCHED, seconds)
    return None if received is None else received.si_signo


def _run(half: Half) -> _Running:
    # Held until this process ends in whatever way, which the half then sees.
    here, there = open_lifeline()
    with there:
        return _Running(half, _start(half, there), here, time.monotonic())


def _start(half: Half, lifeline: socket.socket) -> int:
    """Return the process of *half*."""
    process = os.fork()
    if process:
        return process
    sockets = [*half.sockets, (AGENT, lifeline)]
    try:
        moved = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, _OUT_OF_THE_WAY) for _, each in sockets]
        for number, descriptor in enumerate(moved):
            os.dup2(descriptor, _FIRST_DESCRIPTOR + number)
        _close_from(_FIRST_DESCRIPTOR + len(moved))
        # Until the half listens to it, SIGHUP would end it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        handed = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(moved)),
            "LISTEN_FDNAMES": ":".join(name for name, _ in sockets),
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


def _reap(running: Iterable[_Running]) -> list[tuple[_Running, int]]:
    """Return the halves that have ended, with their exit statuses."""
    found = []
    for each in running:
        if not each.process:
            continue
        ended, status = os.waitpid(each.process, os.WNOHANG)
        if ended:
            each.process = 0
            each.lifeline.close()
            found.append((each, os.waitstatus_to_exitcode(status)))
    return found


def _end(running: Sequence[_Running]) -> None:
    _send(running, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    _reap(running)
    while any(each.process for each in running):
        left = deadline - time.monotonic()
        if left <= 0:
            _send(running, signal.SIGKILL)
            deadline = time.monotonic() + _STOP_SECONDS
        else:
            signal.sigtimedwait([signal.SIGCHLD], left)
        _reap(running)


def _send(running: Iterable[_Running], number: signal.Signals) -> None:
    for each in running:
        if each.process:
            os.kill(each.process, number)
