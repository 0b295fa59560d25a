"""A collector that is killed at random moments keeps all that it acknowledged, none twice."""

import contextlib
import http.client
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.fleet import FIRST_AT, LOCATION, WINDOW_SECONDS, bodies, node_name, release
from trafficd.collector.store import Store
from trafficd.series import series_of
from trafficd.wire.remote_write import HEADERS, Protocol

KILLS = 200
SENDERS = 4
NODES_A_SENDER = 5
MOST_WINDOWS = 80_000
_ANSWER_SECONDS = 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


class Collector:
    """A collector that is started again and again on one port and one file."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.config = folder / "collector.yml"
        self.config.write_text(
            f'listen: ["127.0.0.1:{self.port}"]\ndatabase: {folder / "collector.db"}\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                *(sys.executable, "-m", "trafficd", "collector", "--config", self.config),
                *words,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trafficd", "collector", "--config", self.config],
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait(20) == -signal.SIGKILL

    def stop(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            assert self._process.wait(20) == 0


class Sender(threading.Thread):
    """Pushes the releases of some nodes, each until it is acknowledged; never twice after that."""

    def __init__(self, port: int, tokens: dict[int, str], *, ends: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._tokens = tokens
        self._ends = ends
        self.acknowledged: set[tuple[int, int]] = set()
        self.refused: list[str] = []

    def run(self) -> None:
        made = {each: bodies(each, range(MOST_WINDOWS), is_whole=False) for each in self._tokens}
        connection: http.client.HTTPConnection | None = None
        window = 0
        while not self._ends.is_set():
            for number, body in ((each, next(made[each])) for each in self._tokens):
                while not self._ends.is_set():
                    try:
                        if connection is None:
                            connection = http.client.HTTPConnection(
                                "127.0.0.1", self._port, timeout=_ANSWER_SECONDS
                            )
                        headers = {"Authorization": f"Bearer {self._tokens[number]}"}
                        connection.request(
                            "POST", "/api/v1/write", body, {**HEADERS[Protocol.V1], **headers}
                        )
                        answer = connection.getresponse()
                        said = answer.read()
                    except (OSError, http.client.HTTPException):
                        if connection is not None:
                            connection.close()
                        connection = None
                        self._ends.wait(0.02)
                        continue
                    if answer.status == 204:
                        self.acknowledged.add((number, window))
                        break
                    self.refused.append(f"{answer.status} {said!r}")
                    return
            window += 1


def test_200_kills_lose_nothing_that_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collector = Collector(tmp_path)
    tokens = {}
    for number in range(SENDERS * NODES_A_SENDER):
        added = collector.command("add-node", node_name(number), "--location", LOCATION)
        assert added.returncode == 0, added.stderr
        tokens[number] = added.stdout.split()[-1]
    ends, moments = threading.Event(), random.Random(5)
    senders = [
        Sender(
            collector.port,
            {each: tokens[each] for each in tokens if each % SENDERS == place},
            ends=ends,
        )
        for place in range(SENDERS)
    ]
    for each in senders:
        each.start()
    try:
        for _ in range(KILLS):
            collector.start()
            # Anywhere between its first instruction and some time at work.
            threading.Event().wait(moments.uniform(0.0, 1.2))
            collector.kill()
        collector.start()
    finally:
        ends.set()
        for each in senders:
            each.join(_ANSWER_SECONDS + 5)
        with contextlib.suppress(AssertionError):
            collector.stop()

    assert [each.refused for each in senders if each.refused] == []
    verified = collector.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    acknowledged = set().union(*(each.acknowledged for each in senders))
    assert len(acknowledged) > KILLS
    store = Store(tmp_path / "collector.db")
    with contextlib.closing(store):
        kept = {
            (
                int(known.node.name.removeprefix("node-")),
                (each.at - FIRST_AT) // WINDOW_SECONDS,
            ): each
            for known in store.nodes()
            for each in store.history(known.node.number, 0, 1 << 40)
        }
    assert acknowledged - kept.keys() == set()
    for (number, window), found in kept.items():
        said = dict(series_of(release(number, window)))
        assert {series: said[series] for series in found.series} == dict(
            zip(found.series, found.values, strict=True)
        )
        assert len(found.series) == 20
    with capsys.disabled():
        sys.stdout.write(f"{KILLS} kills, {len(acknowledged)} releases acknowledged\n")
