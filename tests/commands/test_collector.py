"""trafficd collector and its own commands, as processes."""

import contextlib
import http.client
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from tests.collector.pushing import MIB, UPLINK, message, packed
from trafficd.collector.slices import Node
from trafficd.wire.remote_write import HEADERS, Protocol

FRA = Node(1, "fra-1", "frankfurt")
COMMAND = (sys.executable, "-m", "trafficd", "collector", "--config")


@dataclass
class Place:
    """A configuration of a test's own, and the commands on it."""

    config: Path
    database: Path
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, str(self.config), *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def add(self, name: str = "fra-1", location: str = "frankfurt") -> str:
        """Add a node and return its token, which is the last word of the output."""
        done = self.run("add-node", name, "--location", location)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        client = http.client.HTTPConnection(self.address, timeout=20)
        with contextlib.closing(client):
            client.request(method, path, body, dict(headers or {}))
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def push(self, token: str, total: float = MIB, *, at: int, node: Node = FRA) -> tuple[int, str]:
        body = packed(message((UPLINK, {}, total), node=node, at=at))
        authorization = {"Authorization": f"Bearer {token}"}
        return self.ask("POST", "/api/v1/write", body, {**HEADERS[Protocol.V1], **authorization})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    # Free now, and nobody else's in this test's lifetime but by bad luck.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config, database = tmp_path / "collector.yml", tmp_path / "collector.db"
    config.write_text(f'listen: ["127.0.0.1:{port}"]\ndatabase: {database}\n')
    return Place(config, database, port)


@contextlib.contextmanager
def serving(place: Place, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the daemon until the end of the block; it has said that it is ready."""
    with subprocess.Popen(
        [*COMMAND, str(place.config)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    ) as daemon:  # fmt: skip
        try:
            assert daemon.stderr is not None
            assert daemon.stderr.readline() == f"collector: taking releases on {place.address}\n"
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.terminate()
                daemon.wait(20)


def within_seconds(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Return whether *condition* comes true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def recent() -> int:
    """Return the last grid point."""
    return int(time.time()) // 300 * 300


def sample(page: str, name: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(name)]


def test_a_node_that_was_added_pushes_and_is_seen_on_the_page(place: Place) -> None:
    token = place.add()

    with serving(place) as daemon:
        assert place.ask("GET", "/healthz") == (200, "OK\n")
        assert place.push(token, 7 * MIB, at=recent()) == (204, "")
        _, page = place.ask("GET", "/metrics")

    assert sample(page, UPLINK) == [f'{UPLINK}{{node="fra-1",location="frankfurt"}} {7 * MIB}']
    assert sample(page, "trafficd_location_uplink_receive") == [
        f'trafficd_location_uplink_receive_bytes_total{{location="frankfurt"}} {7 * MIB}'
    ]
    assert 'trafficd_collector_messages_total{result="stored"} 1' in page
    (size,) = sample(page, "trafficd_collector_database_bytes")
    assert int(size.split()[1]) >= 4096
    assert daemon.returncode == 0


def test_what_was_answered_is_there_after_a_kill_and_sums_go_on(place: Place) -> None:
    token = place.add()
    at = recent()
    with serving(place) as daemon:
        assert place.push(token, 7 * MIB, at=at - 300) == (204, "")
        daemon.kill()
        daemon.wait(20)

    with serving(place):
        _, before = place.ask("GET", "/metrics")
        assert place.push(token, 7 * MIB, at=at - 300) == (204, "")
        status, reason = place.push(token, 8 * MIB, at=at - 300)
        assert place.push(token, 9 * MIB, at=at) == (204, "")
        _, after = place.ask("GET", "/metrics")

    name = "trafficd_location_uplink_receive_bytes_total"
    assert [sample(page, name)[0].split()[1] for page in (before, after)] == [
        str(7 * MIB), str(9 * MIB),
    ]  # fmt: skip
    assert status == 400
    assert UPLINK in reason
    assert place.run("verify").stdout == f"{place.database}: good\n"


def test_nodes_are_added_and_revoked_while_the_daemon_runs(place: Place) -> None:
    with serving(place):
        token = place.add()
        assert within_seconds(lambda: place.push(token, at=recent())[0] == 204)

        assert place.run("revoke-node", "fra-1").stdout == "fra-1 may write no more\n"
        assert within_seconds(lambda: place.push(token, at=recent())[0] == 403)

        again = place.add()
        assert within_seconds(lambda: place.push(again, at=recent())[0] == 204)
        assert place.push(token, at=recent())[0] == 401


def test_a_token_is_shown_once_and_kept_as_its_hash(place: Place) -> None:
    token = place.add()

    everything = b"".join(file.read_bytes() for file in place.database.parent.iterdir())
    listed = place.run("list-nodes").stdout

    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert token.encode() not in everything
    assert token not in listed


def test_nodes_are_listed_with_what_became_of_them(place: Place) -> None:
    place.add("fra-1", "frankfurt")
    place.add("ams-1", "amsterdam")
    place.run("revoke-node", "fra-1")
    today = time.strftime("%Y-%m-%d", time.gmtime())

    listed = place.run("list-nodes")

    assert listed.stdout.splitlines() == [
        f"fra-1 frankfurt added {today} revoked {today}",
        f"ams-1 amsterdam added {today}",
    ]


def test_a_copy_of_a_running_collector_is_whole(place: Place, tmp_path: Path) -> None:
    token = place.add()
    copy = tmp_path / "copy.db"

    with serving(place):
        assert place.push(token, at=recent()) == (204, "")
        done = place.run("backup", str(copy))

    assert done.stdout == f"{copy}: a whole copy of {place.database}\n"
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM release").fetchone() == (1,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, which takes root")
def test_what_root_makes_belongs_to_the_user_of_the_directory_or_of_the_database(
    place: Place,
) -> None:
    home, away = place.database.parent / "home", place.database.parent / "away"
    place.config.write_text(f"database: {home / 'collector.db'}\n")
    home.mkdir()
    away.mkdir()
    os.chown(home, 61234, 61235)

    place.add()
    place.run("verify")
    place.run("backup", str(away / "copy.db"))

    made = [*home.iterdir(), *away.iterdir()]
    assert {home / "collector.db", away / "copy.db"} <= set(made)
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {(61234, 61235)}
    assert {each.stat().st_mode & 0o777 for each in made} == {0o600}


def test_a_node_that_is_added_before_the_directory_is_there_makes_it_for_its_owner_alone(
    place: Place,
) -> None:
    home = place.database.parent / "home"
    place.config.write_text(f"database: {home / 'collector.db'}\n")

    unasked = place.run("list-nodes").returncode
    was_made = home.exists()
    place.add()

    assert (unasked, was_made) == (1, False)
    assert home.stat().st_mode & 0o777 == 0o700
    assert place.run("verify").returncode == 0


def test_a_node_with_a_history_stays_where_it_is(place: Place) -> None:
    token = place.add("fra-1", "frankfurt")
    with serving(place):
        place.push(token, at=recent())
    place.run("revoke-node", "fra-1")

    moved = place.run("add-node", "fra-1", "--location", "berlin")
    stayed = place.run("add-node", "fra-1", "--location", "frankfurt")

    assert (moved.returncode, stayed.returncode) == (1, 0)
    assert moved.stderr == (
        "trafficd: fra-1: has a history in frankfurt, which stays there; for berlin choose another"
        " name\n"
    )


def test_a_location_that_was_mistyped_can_be_put_right(place: Place) -> None:
    place.add("fra-1", "frankfrut")
    place.run("revoke-node", "fra-1")

    assert place.run("add-node", "fra-1", "--location", "frankfurt").returncode == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["add-node", "Fra 1", "--location", "x"], 2, "Fra 1: write a name of lower-case"),
        (["add-node", "a", "--location", "10.0.0.1"], 2, "10.0.0.1: write a lower-case word"),
        (["add-node", "a"], 2, "--location"),
        (["revoke-node", "nobody"], 1, "trafficd: nobody: not a node that may write"),
        (["add-node", "fra-1", "--location", "frankfurt"], 1, "trafficd: fra-1: is a node already"),
        (["backup", "/nowhere/copy.db"], 1, "trafficd: /nowhere/copy.db: No such file"),
    ],
)
def test_a_mistake_is_one_line(place: Place, words: list[str], status: int, said: str) -> None:
    place.add()

    done = place.run(*words)

    assert done.returncode == status
    (line,) = done.stderr.splitlines()[-1:]
    assert said in line
    assert "Traceback" not in done.stderr
    assert status == 2 or len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["list-nodes"], ["verify"]], ids=str)
def test_a_database_that_cannot_be_had_is_one_line(place: Place, words: list[str]) -> None:
    place.config.write_text("database: /nowhere/collector.db\n")
    nowhere = place.run(*words)
    place.database.write_bytes(b"not a database, and longer than the header of one is" * 10)
    place.config.write_text(f"database: {place.database}\n")
    foreign = place.run(*words)

    for done in (nowhere, foreign):
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("trafficd: /")
    assert place.database.read_bytes().startswith(b"not a database")


def test_a_database_of_a_newer_version_is_refused_and_left_alone(place: Place) -> None:
    place.add()
    with contextlib.closing(sqlite3.connect(place.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = place.database.read_bytes()

    done = place.run()

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "of version 99" in line
    assert place.database.read_bytes() == before


def test_a_port_in_use_is_one_line(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.port)):
        done = place.run()

    assert (done.returncode, done.stderr) == (
        1, f"trafficd: listen: {place.address}: Address already in use\n",
    )  # fmt: skip


def test_mistakes_in_the_configuration_are_told_at_once_with_78(place: Place) -> None:
    place.config.write_text("listen: here\nretention: {raw: 5}\n")

    done = place.run()

    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith(f"{place.config}:1: listen: ")


def test_systemd_is_told_when_it_is_ready_and_that_it_lives(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with serving(place, **environment):
            told = [systemd.recv(4096).decode() for _ in range(2)]

    assert told == ["READY=1\nSTATUS=taking releases", "WATCHDOG=1"]


def test_a_signal_has_the_web_config_reread(place: Place, tmp_path: Path) -> None:
    web = tmp_path / "web.yml"
    web.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    place.config.write_text(f"{place.config.read_text()}web_config: {web}\n")

    with serving(place) as daemon:
        assert daemon.stderr is not None
        web.write_text("basic_auth_users: {prometheus: nonsense}\n")
        daemon.send_signal(signal.SIGHUP)
        refused = daemon.stderr.readline()
        assert place.ask("GET", "/metrics")[0] == 200
        hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
        web.write_text(f'basic_auth_users: {{prometheus: "{hashed}"}}\n')
        daemon.send_signal(signal.SIGHUP)
        reread = daemon.stderr.readline()
        statuses = [place.ask("GET", path)[0] for path in ("/metrics", "/healthz")]

    assert refused == "collector: web config refused, the old one stays\n"
    assert reread == "collector: web config reread\n"
    assert statuses == [401, 200]


def test_a_signal_without_a_web_config_ends_nothing(place: Place) -> None:
    with serving(place) as daemon:
        daemon.send_signal(signal.SIGHUP)

        assert place.ask("GET", "/healthz")[0] == 200


def test_nothing_is_logged_of_who_came_and_what_was_sent(place: Place) -> None:
    token = place.add()

    with serving(place) as daemon:
        place.push(token, at=recent())
        place.push("wrong", at=recent())
        place.ask("GET", "/metrics")
        with socket.create_connection(("127.0.0.1", place.port)) as stranger:
            stranger.sendall(b"\x00garbage\r\n\r\n")
            stranger.recv(1000)
        daemon.terminate()
        daemon.wait(20)
        assert daemon.stderr is not None
        said = daemon.stderr.read()

    assert said == "collector: stopped\n"
