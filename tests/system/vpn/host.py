"""A host: a network namespace, programs that run there, and sockets."""

import contextlib
import ctypes
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# linux/sched.h
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
# An emulated processor on a busy host takes its time.
_LONGEST_SECONDS = 240.0


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Return when *is_so*; fail with *what* when it is not for long."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace with an address on the network that all hosts share.

    *namespace* is a file of nsfs; *root* is the file system that its programs see.
    """

    name: str
    address: str
    namespace: Path
    root: Path

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread into the namespace; what it opens there stays there."""
        with Path("/proc/thread-self/ns/net").open() as home, self.namespace.open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def ip(self, *lines: str) -> None:
        """Give `ip` each line as the arguments of one call."""
        subprocess.run(
            [*self._inside(), "ip", "-batch", "-"],
            input="\n".join(lines), text=True, timeout=240, check=True,
        )  # fmt: skip

    def shown(self, *arguments: str) -> str:
        """Return what `ip` prints there."""
        return subprocess.run(
            [*self._inside(), "ip", *arguments],
            stdout=subprocess.PIPE, text=True, timeout=240, check=True,
        ).stdout  # fmt: skip

    def run(self, *command: str, given: str = "") -> str:
        """Run a program of the file system there, and return what it printed."""
        done = subprocess.run(
            [*self._inside(), "chroot", str(self.root), *command],
            input=given, stdout=subprocess.PIPE, text=True, timeout=240, check=True,
        )  # fmt: skip
        return done.stdout

    def start(
        self,
        *command: str,
        given: bytes | None = None,
        over: socket.socket | None = None,
        own_run: bool = False,
    ) -> "subprocess.Popen[bytes]":
        """Start a program of the file system there.

        It reads *given*, or reads and writes *over* a connection; *own_run* is for one that keeps
        its others away by a file in /run.
        """
        private = f"mount -t tmpfs tmpfs '{self.root}/run' && " if own_run else ""
        alone = ("unshare", "--mount", "sh", "-c", f'{private}exec "$@"', "sh") if own_run else ()
        line = over.fileno() if over else None
        process = subprocess.Popen(
            [*self._inside(), *alone, "chroot", str(self.root), *command],
            stdin=line or (subprocess.DEVNULL if given is None else subprocess.PIPE),
            stdout=line,
        )
        if given is not None:
            assert process.stdin is not None
            with process.stdin:
                process.stdin.write(given)
        return process

    def connect(self, address: str, port: int) -> socket.socket | None:
        """Connect from here to *address*, if there is a way yet."""
        with self.entered():
            connection = socket.socket()
        connection.settimeout(_LONGEST_SECONDS)
        try:
            connection.connect((address, port))
        except OSError:
            connection.close()
            return None
        return connection

    def listen(self) -> socket.socket:
        """Return a socket that takes connections to any address of this host."""
        with self.entered():
            listener = socket.create_server(("0.0.0.0", 0), backlog=64)
        listener.settimeout(_LONGEST_SECONDS)
        return listener

    def datagrams(self) -> socket.socket:
        """Return a socket for datagrams, on a port of any address of this host."""
        with self.entered():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", 0))
        made.settimeout(1.0)
        return made

    def _inside(self) -> tuple[str, ...]:
        return ("nsenter", f"--net={self.namespace}")


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
