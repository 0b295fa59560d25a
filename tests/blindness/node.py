"""A real agent with canaries all around it, and everything that left it."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Namespace
from tests.lab import entered

_HALVES = ("reader", "exporter")
_READY = {"reader": b"reader: counting", "exporter": b"exporter: serving"}
_LONGEST_SECONDS = 30.0
_PORT = 9787
# Where a program that writes at all writes to.
_EVERYBODYS_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/lib", "/var/log")
_MOST_BYTES_OF_A_FILE = 4 << 20
_DEEPEST = 4  # folders; below that are installations, which this would take long to go through
_OWN_FOLDERS = "trafficd-watched-"
# Most of the state has never been written to.
_ZEROS = re.compile(rb"\0{64,}")


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Return when *is_so*; fail when it is not for long."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@dataclass(slots=True)
class WatchedAgent:
    """An agent in folders of its own, of which all that leaves is kept.

    *ram* is where its state is, on a tmpfs; without one it has none.
    """

    namespace: Namespace
    folder: Path
    environment: Mapping[str, str]
    ram: Path | None = None
    documents: dict[str, bytes] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    began_at: float = 0.0
    _process: "subprocess.Popen[bytes] | None" = None
    _runs: int = 0

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)
        for name in ("home", "temporary", "here", "streams"):
            (self.folder / name).mkdir()
            # Nothing but the agent itself keeps it from writing there.
            (self.folder / name).chmod(0o777)
        # A file system's clock is behind by up to a tick.
        self.began_at = time.time() - 0.1

    @contextlib.contextmanager
    def running(self, config: Path) -> Iterator[None]:
        """Run it; it has ended when the block has."""
        self._runs += 1
        environment = {
            **os.environ,
            **self.environment,
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "temporary"),
        }
        with self._stream("stdout").open("wb") as out, self._stream("stderr").open("wb") as err:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace.name, sys.executable, "-m", "trafficd",
                 "agent", "--config", str(config), "--state", str(self.ram or "none")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=environment, cwd=self.folder / "here",
            )  # fmt: skip
        self._process = process
        try:
            wait_until(
                lambda: (
                    all(each in self.said() for each in _READY.values())
                    or process.poll() is not None
                ),
                "it is not ready",
            )
            assert process.poll() is None, self.said()
            yield
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _stream(self, name: str) -> Path:
        return self.folder / "streams" / f"{name} of run {self._runs}"

    def said(self) -> bytes:
        """Return what this run wrote on standard error so far."""
        return self._stream("stderr").read_bytes()

    def wait_for(self, sentence: bytes, *, times: int = 1) -> None:
        """Wait until it has said *sentence*, or so often."""
        wait_until(lambda: self.said().count(sentence) >= times, f"not said: {sentence!r}")

    def hang_up(self) -> None:
        """Send SIGHUP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the agent and return its exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(_LONGEST_SECONDS)

    def kill_half(self, half: str) -> None:
        """Kill the reader or the exporter, and wait until the agent has started it again."""
        # An exporter ends with its reader.
        again = {
            each: self.said().count(_READY[each]) + 1 for each in _HALVES[_HALVES.index(half) :]
        }
        os.kill(self._halves()[half], signal.SIGKILL)
        for each, times in again.items():
            self.wait_for(_READY[each], times=times)

    def _halves(self) -> dict[str, int]:
        assert self._process is not None
        agent = self._process.pid
        found: dict[str, int] = {}
        for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            found |= {half: int(child) for half in _HALVES if half in words}
        return found

    def look_at_state(self, moment: str) -> None:
        """Keep what is in the state file now."""
        assert self.ram is not None
        state = (self.ram / "state").read_bytes()
        self.states[moment] = _ZEROS.sub(bytes(64), state)
        self.documents["names of files in RAM"] = "\n".join(
            each.name for each in self.ram.iterdir()
        ).encode()

    def look_at_processes(self) -> None:
        """Keep what everybody can see of the processes."""
        assert self._process is not None
        for process in (self._process.pid, *self._halves().values()):
            for each in ("cmdline", "comm", "stat", "status", "statm"):
                document = f"{each} of a process in run {self._runs}"
                seen = Path(f"/proc/{process}/{each}").read_bytes()
                self.documents[document] = self.documents.get(document, b"") + seen

    def ask(
        self, what: str, request: bytes, *, tls_name: str = "", hangs_up: bool = False
    ) -> bytes:
        """Send *request* as it is, and keep and return all that comes back until the end."""
        with (
            entered(self.namespace.name),
            contextlib.suppress(ConnectionError, ssl.SSLError),
            socket.create_connection(("127.0.0.1", _PORT), _LONGEST_SECONDS) as plain,
        ):
            connection = _tls(plain, tls_name) if tls_name else plain
            answer = _exchange(connection, request, hangs_up=hangs_up)
            self.documents[f"answer {len(self.documents)}, to {what}"] = answer
            return answer
        return b""

    def everything(self) -> dict[str, bytes]:
        """Return what left over the network and the streams, and what is in its own folders."""
        files = {
            str(file.relative_to(self.folder)): file.read_bytes()
            for name in ("home", "temporary", "here", "streams")
            for file in (self.folder / name).rglob("*")
            if file.is_file()
        }
        return {**self.documents, **files, "names of files": "\n".join(files).encode()}

    def foreign_files(self) -> dict[str, bytes]:
        """Return the files that anybody wrote since it began, where programs write."""
        found = {}
        for top in _EVERYBODYS_FOLDERS:
            for entry in _new_files(top, self.began_at, _DEEPEST):
                with contextlib.suppress(OSError):
                    found[entry] = Path(entry).read_bytes()
        found["names of new files"] = "\n".join(found).encode()
        return found

    def journal(self) -> bytes:
        """Return what reached the journal since it began; nothing, where there is none."""
        try:
            shown = subprocess.run(
                ["journalctl", "--quiet", "--no-pager", "--output=export",
                 f"--since=@{int(self.began_at)}"],
                capture_output=True, timeout=60, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            return b""
        return shown.stdout


def _new_files(folder: str, since: float, depth: int) -> Iterator[str]:
    """Yield the files beneath *folder* that were written or made *since*."""
    # What is taken away meanwhile, or belongs to a kernel, is nobody's trace.
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            # Another run of the same test plants the same.
            if entry.is_symlink() or entry.name.startswith(_OWN_FOLDERS):
                continue
            if entry.is_dir():
                if depth:
                    yield from _new_files(entry.path, since, depth - 1)
                continue
            status = entry.stat()
            is_new = max(status.st_mtime, status.st_ctime) >= since
            if is_new and entry.is_file() and status.st_size <= _MOST_BYTES_OF_A_FILE:
                yield entry.path


def _tls(plain: socket.socket, name: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)


def _exchange(connection: socket.socket, request: bytes, *, hangs_up: bool) -> bytes:
    with connection:
        connection.sendall(request)
        if hangs_up:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := connection.recv(1 << 16):
                answer += data
        return answer


def netlink_ports(namespace: str) -> list[int]:
    """Return where the route sockets of programs in *namespace* can be written to."""
    with entered(namespace):
        _, *lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()
    # sk, protocol, port and so on (net/netlink/af_netlink.c, netlink_native_seq_show)
    rows = [line.split() for line in lines]
    return [int(row[2]) for row in rows if row[1] == "0" and row[2] != "0"]
