"""The processes of the demo: forked before any thread or event loop, and none outlives it."""

import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trafficd.demo.namespaces import die_with
from trafficd.errors import HalfEndedError, TrafficdError

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WATCHED = (*_STOPPING, signal.SIGCHLD)
_STOP_SECONDS = 5.0
# The exit status of a process that ended because another had; that one is found within so long.
_AFTER_ANOTHER = 3
_FIND_SECONDS = 1.0
_STANDARD = (0, 1, 2)
_REASON_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _Ended:
    process: int
    name: str
    status: int


class Family:
    """What was started, by name; signals are waited for here, not handled."""

    def __init__(self) -> None:
        self._running: dict[int, str] = {}
        # Why processes ended, a message each: said here, and not by them over the table.
        self._reasons, self._reasons_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reasons.setblocking(False)

    @classmethod
    @contextlib.contextmanager
    def together(cls) -> Iterator["Family"]:
        """Return an empty family, and end it at the end, whatever the reason."""
        family = cls()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            yield family
        finally:
            family.end()
            family.close()
            # An impatient second Ctrl-C asked for what has been done.
            while signal.sigtimedwait(WATCHED, 0):
                pass
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def start(self, name: str, work: Callable[[], object], *, keep: Iterable[int]) -> None:
        """Run *work* in a process of its own that holds of our descriptors those in *keep* only."""
        demo = os.getpid()
        # Objects of ours that own a descriptor must not be collected in the child, where another
        # file may have its number by then.
        gc.freeze()
        process = os.fork()
        if process:
            gc.unfreeze()
            self._running[process] = name
            return
        status = 1
        try:
            die_with(demo)
            # A terminal's Ctrl-C is for the demo alone, which then ends us in order.
            os.setpgid(0, 0)
            # The screen is the demo's; what there is to say of an end is said as its reason.
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in _STANDARD:
                os.dup2(nowhere, standard)
            _close_all_but([*keep, self._reasons_end.fileno()])
            for number in WATCHED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            work()
            status = 0
        except (TrafficdError, OSError) as error:
            self._reasons_end.send(f"{os.getpid()} {error}".encode())
            status = _AFTER_ANOTHER if isinstance(error, HalfEndedError) else status
        finally:
            os._exit(status)

    def wait(self, seconds: float) -> bool:
        """Wait so long; True if a signal asked the demo to stop.

        Raises: TrafficdError if a process ended that nobody asked to.
        """
        received = signal.sigtimedwait(WATCHED, max(0.0, seconds))
        if received is None:
            return False
        if received.si_signo != signal.SIGCHLD:
            return True
        ended = self._reap()
        while ended and all(each.status == _AFTER_ANOTHER for each in ended):
            if signal.sigtimedwait([signal.SIGCHLD], _FIND_SECONDS) is None:
                break
            ended += self._reap()
        if ended:
            first = min(ended, key=lambda each: each.status == _AFTER_ANOTHER)
            raise TrafficdError(f"the {first.name} ended{self._reason(first.process)}")
        return False

    def end(self) -> None:
        """End every process and wait until it is gone."""
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        self._reap()
        while self._running:
            left = deadline - time.monotonic()
            if left <= 0:
                self._send(signal.SIGKILL)
                deadline = time.monotonic() + _STOP_SECONDS
            else:
                signal.sigtimedwait([signal.SIGCHLD], left)
            self._reap()

    def close(self) -> None:
        """Stop listening to reasons."""
        self._reasons.close()
        self._reasons_end.close()

    def _reap(self) -> list["_Ended"]:
        """Forget the processes that have ended, and return them in the order of their start."""
        ended = []
        for process, name in list(self._running.items()):
            if (waited := os.waitpid(process, os.WNOHANG))[0]:
                del self._running[process]
                ended.append(_Ended(process, name, os.waitstatus_to_exitcode(waited[1])))
        return ended

    def _reason(self, process: int) -> str:
        """Return what *process* said of its end."""
        with contextlib.suppress(BlockingIOError):
            while said := self._reasons.recv(_REASON_BYTES).decode():
                number, _, reason = said.partition(" ")
                if number == str(process):
                    return f": {reason}"
        return ""

    def _send(self, number: signal.Signals) -> None:
        for process in self._running:
            os.kill(process, number)


def _close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor but the standard ones and *keep*; the objects stay, unused."""
    kept = {*_STANDARD, *keep}
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        # The one that listed them is closed by now.
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
