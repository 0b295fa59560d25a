"""Starts the halves as systemd does, as process 1 of a machine's own: what the two services get.

Run by itself, this file is that process 1: it opens the sockets, holds them, gives each half copies
of the configuration, starts it again when it ends, and says on its standard output who is ready.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RELEASES = "run/trafficd/releases"
RELOADS = {half: f"run/trafficd/{half}.reload" for half in ("reader", "exporter")}
STATE = "run/trafficd-reader/state"
CREDENTIALS = {half: f"run/credentials/trafficd-{half}.service/agent.yml" for half in RELOADS}
_NOTIFY = "/run/systemd/notify"
_ROOT = Path("/")
_FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
_RTMGRP_LINK = 1  # linux/rtnetlink.h
_SECONDS = 60.0


@dataclass
class Services:
    """Two running services, and the machine that they are alone in."""

    process: int
    _said: "subprocess.Popen[str]" = field(repr=False)

    @property
    def root(self) -> Path:
        """The file system that the services see."""
        return Path(f"/proc/{self.process}/root")

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with to be run there."""
        return ("nsenter", f"--target={self.process}", "--mount", "--pid")

    def half(self, name: str) -> int:
        """Return the process of the reader or exporter, by its number out here."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text()
        for child in children.split():
            if name in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
                return int(child)
        raise AssertionError(f"no {name}")

    def wait_for(self, *names: str) -> None:
        """Return as soon as each of *names* is ready once more."""
        missing = {f"{each} is ready\n" for each in names}
        assert self._said.stdout is not None
        late = threading.Timer(_SECONDS, self._said.kill)
        late.start()
        while missing:
            line = self._said.stdout.readline()
            assert line, f"the services ended; not ready: {missing}"
            missing.discard(line)
        late.cancel()


@contextlib.contextmanager
def running_services(python: Path, namespace: str, config: Path) -> Iterator[Services]:
    """Run both halves by *python*, to count the network namespace called *namespace*."""
    machine = subprocess.Popen(
        [
            *("ip", "netns", "exec", namespace),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, __file__, str(python), str(config)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": "/"},
    )
    try:
        assert machine.stdout is not None
        assert machine.stdout.readline() == "all is open\n"
        (child,) = Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()
        services = Services(int(child), machine)
        services.wait_for("reader", "exporter")
        yield services
    finally:
        machine.kill()
        with machine:
            pass


def _be_process_1(python: str, config: Path) -> None:
    text = config.read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    for half in CREDENTIALS.values():
        (_ROOT / half).parent.mkdir(parents=True)
        (_ROOT / half).write_bytes(text)
    for place in (RELEASES, STATE, _NOTIFY):
        (_ROOT / place).parent.mkdir()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(_NOTIFY)
    # Where credentials say who sent a message (SO_PASSCRED, unix(7)).
    manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    reads = [*_netlink(), _bound(RELEASES, socket.SOCK_SEQPACKET, 0o660)]
    reads[-1].listen()
    handed = {
        "reader": [*reads, _bound(RELOADS["reader"], socket.SOCK_DGRAM, 0o600)],
        "exporter": [_bound(RELOADS["exporter"], socket.SOCK_DGRAM, 0o600)],
    }
    _say("all is open")
    running = {_start(python, half, handed[half]): half for half in handed}
    threading.Thread(target=_report, args=(manager, running), daemon=True).start()
    while True:
        ended, _ = os.wait()
        if ended in running:
            half = running.pop(ended)
            running[_start(python, half, handed[half])] = half


def _netlink() -> Iterator[socket.socket]:
    for groups in (_RTMGRP_LINK, 0):
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        opened.bind((0, groups))
        yield opened


def _bound(place: str, kind: socket.SocketKind, mode: int) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, kind)
    opened.bind(f"/{place}")
    (_ROOT / place).chmod(mode)
    return opened


def _start(python: str, half: str, handed: list[socket.socket]) -> int:
    """Return the process of *half*, which the sockets are handed to."""
    process = os.fork()
    if process:
        return process
    try:
        # Out of the way first, so that none is moved over another.
        moved = [os.dup2(each.fileno(), 100 + place) for place, each in enumerate(handed)]
        for place, number in enumerate(moved):
            os.dup2(number, _FIRST_DESCRIPTOR + place)
        os.closerange(_FIRST_DESCRIPTOR + len(moved), 200)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        more = ["--releases", f"/{RELEASES}"]
        alone: list[str] = []
        if half == "reader":
            more, alone = ["--state", f"/{STATE}"], ["unshare", "--net"]
        command = [python, "-P", "-m", "trafficd", half, "--config", f"/{CREDENTIALS[half]}", *more]
        environment = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": _NOTIFY,
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(moved)),
            "LISTEN_FDNAMES": ":".join(["host"] * len(moved)),
        }
        os.execvpe([*alone, *command][0], [*alone, *command], environment)
    finally:
        os._exit(1)


def _report(manager: socket.socket, running: dict[int, str]) -> None:
    """Say which half is ready, as each says so itself."""
    while True:
        message, [(_, _, credentials)], _, _ = manager.recvmsg(4096, socket.CMSG_SPACE(12))
        sender = int.from_bytes(credentials[:4], sys.byteorder)
        if message.startswith(b"READY=1"):
            _say(f"{running[sender]} is ready")


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    _be_process_1(sys.argv[1], Path(sys.argv[2]))
