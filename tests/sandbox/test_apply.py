"""The locked halves at work: from a root that alone may read their files to nobody's processes."""

import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import bcrypt
import pytest
from cryptography import x509

from tests.commands.test_agent import Agent
from tests.sandbox import machine
from tests.service.test_web_config import Authority

if TYPE_CHECKING:
    from tests.conftest import Namespace

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        os.geteuid() != 0 or "4294967295" not in Path("/proc/self/uid_map").read_text(),
        reason="needs root, and not that of a user namespace",
    ),
]

RULES = 'links: [{name: "eth*", role: uplink}, {name: "tun*", class: openvpn}]\n'
NOBODY = "65534"

# Notes every module that a half looks for once it is locked. Python runs this before its program.
SITE = """
import os, sys
if "trafficd" in sys.orig_argv:
    from trafficd.sandbox import apply
    enter = apply.enter_sandbox
    class Note:
        def find_spec(self, name, path=None, target=None):
            os.write(self.file, f"{name}\\n".encode())
    def entering(*arguments, **options):
        Note.file = os.open(os.environ["NOTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        enter(*arguments, **options)
        sys.meta_path.insert(0, Note())
        try:
            import shows_that_this_works
        except ImportError:
            pass
    apply.enter_sandbox = entering
"""

# What a scraper sends, and what no scraper does.
ODD_REQUESTS = """
import socket
chunked = b"Transfer-Encoding: chunked\\r\\n\\r\\n5\\r\\nhello\\r\\n0\\r\\n\\r\\n"
for request in (
    b"GET /metrics HTTP/1.1\\r\\nHost: a\\r\\nAccept-Encoding: gzip\\r\\n\\r\\n",
    b"GET /metrics HTTP/1.1\\r\\nHost: a\\r\\nAccept: application/openmetrics-text\\r\\n\\r\\n",
    b"GET /metrics HTTP/1.0\\r\\n\\r\\n",
    b"HEAD /metrics HTTP/1.1\\r\\nHost: xn--mnchen-3ya.example:80\\r\\n\\r\\n",
    b"GET /m%C3%BCnchen?%zz#x HTTP/1.1\\r\\nHost: m\\xfcnchen\\r\\n\\r\\n",
    b"GET http://m\\xc3\\xbcnchen.example/metrics HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n",
    b"POST /metrics HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\nhello",
    b"POST /metrics HTTP/1.1\\r\\nHost: a\\r\\nExpect: 100-continue\\r\\n" + chunked,
    b"POST /metrics HTTP/1.1\\r\\nHost: a\\r\\nContent-Encoding: gzip\\r\\n" + chunked,
    b"POST /metrics HTTP/1.1\\r\\nHost: a\\r\\nContent-Encoding: br\\r\\n" + chunked,
    b"POST /metrics HTTP/1.1\\r\\nHost: a\\r\\nContent-Encoding: zstd\\r\\n" + chunked,
    b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Type: text/x; charset=utf-7\\r\\n" + chunked,
    b"GET / HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: websocket\\r\\nConnection: upgrade\\r\\n\\r\\n",
    b"GET / HTTP/1.1\\r\\nHost: a\\r\\nCookie: a=b; =;\\r\\nRange: bytes=x\\r\\n\\r\\n",
    b"GET / HTTP/9.9\\r\\n\\r\\n",
    b"garbage\\r\\n\\r\\n",
    b"\\x16\\x03\\x01\\x00\\x05hello",
    b"",
):
    with socket.create_connection(("127.0.0.1", 9787), 10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
"""


class Start(Protocol):
    def __call__(self, config: str) -> Agent: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory that is root's alone."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def start(namespace: "Namespace", folder: Path) -> Iterator[Start]:
    started: list[Agent] = []

    def start_agent(config: str) -> Agent:
        file = folder / "agent.yml"
        file.write_text(machine.configuration() + config)
        file.chmod(0o600)
        started.append(Agent(namespace, file))
        return started[-1]

    yield start_agent
    for agent in started:
        if agent.process.poll() is None:
            agent.process.kill()
            agent.finished()


def status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {key: rest.strip() for key, rest in (line.split(":", 1) for line in lines)}


def descriptors(process: int) -> dict[str, str]:
    return {each.name: str(each.readlink()) for each in Path(f"/proc/{process}/fd").iterdir()}


def test_both_halves_are_nobody_with_nothing_and_the_rules_still_change(
    start: Start, folder: Path
) -> None:
    agent = start(f"window: 5m\n{RULES}")
    agent.wait_until_ready()

    for half in ("reader", "exporter"):
        found = status(agent.half(half))
        assert found["Uid"].split() == [NOBODY] * 4
        assert found["Gid"].split() == [NOBODY] * 4
        capabilities = {key: value for key, value in found.items() if key.startswith("Cap")}
        assert len(capabilities) == 5
        assert {int(value, 16) for value in capabilities.values()} == {0}
        assert (found["NoNewPrivs"], found["Seccomp"], found["Threads"]) == ("1", "2", "1")
        assert Path(f"/proc/{agent.half(half)}/mem").stat().st_uid == 0
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            ["setpriv", "--reuid", NOBODY, "--clear-groups", "cat", folder / "agent.yml"],
            check=True, capture_output=True,
        )  # fmt: skip
    for config, told in (
        ("window: 5m\nlinks: [{name: 'ppp*', class: l2tp}]\n", "link rules reread"),
        ("windows: 5m\n", "configuration refused, the old rules stay"),
        ("#" * (4 << 20), "configuration refused, the old rules stay"),
        (f"window: 5m\n{RULES}", "link rules reread"),
    ):
        (folder / "agent.yml").write_text(machine.configuration() + config)
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(told)
    (folder / "agent.yml").unlink()
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("configuration refused, the old rules stay")
    code, said = agent.end(signal.SIGTERM)

    assert code == 0
    assert sorted(said[-2:]) == ["exporter: stopped", "reader: stopped"]


def test_a_half_holds_its_sockets_and_loop_and_nothing_else(start: Start) -> None:
    inherited = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        agent = start(f"window: 5m\n{RULES}")
        agent.wait_until_ready()
        reader, exporter = (descriptors(agent.half(each)) for each in ("reader", "exporter"))
    finally:
        os.close(inherited)

    for half, sockets in ((reader, 7), (exporter, 6)):
        assert {half.pop("0"), half.pop("1")} == {"/dev/null"}
        assert half.pop("2").startswith("pipe:")
        kinds = sorted(re.sub(r":\[\d+\]$", "", each) for each in half.values())
        assert kinds == ["anon_inode:[eventpoll]", *["socket"] * sockets]


def test_tls_users_and_rotation_go_on_where_the_user_may_read(
    start: Start, public_folder: Path
) -> None:
    web = readable_web_config(public_folder)
    agent = start(f"window: 5m\nmetrics: {{web_config: {web / 'web.yml'}}}\n")
    agent.wait_until_ready()

    def scrape(password: str) -> str:
        return agent.namespace.run(
            "curl", "-so", "/dev/null", "--cacert", str(web / "servers.crt"), "-w",
            "%{http_code} %{num_connects}", "-u", f"prometheus:{password}", "--compressed",
            "--resolve", "localhost:9787:127.0.0.1",
            "https://localhost:9787/metrics", "-o", "/dev/null", "https://localhost:9787/healthz",
        )  # fmt: skip

    before = [scrape("secret"), scrape("wrong")]
    issue(web)
    # The exporter looks by itself, and at once when it is told to.
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("web config reread")
    after = [scrape("secret"), scrape("wrong")]
    (web / "server.key").unlink()
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("web config refused")
    with_the_old = scrape("secret")
    code, _ = agent.end(signal.SIGTERM)

    # Both answers came over one connection.
    assert before == after == ["200 1200 0", "401 1200 0"]
    assert with_the_old == "200 1200 0"
    assert code == 0


@pytest.mark.parametrize("hidden", ["server.key", "web.yml"])
def test_a_web_config_that_only_root_can_read_is_served_and_said_to_be_fixed(
    start: Start, public_folder: Path, hidden: str
) -> None:
    web = readable_web_config(public_folder)
    (web / hidden).chmod(0o600)

    agent = start(f"window: 5m\nmetrics: {{web_config: {web / 'web.yml'}}}\n")
    agent.wait_until_ready()
    page = agent.namespace.run(
        "curl", "-sf", "--cacert", str(web / "servers.crt"), "-u", "prometheus:secret",
        "--resolve", "localhost:9787:127.0.0.1", "https://localhost:9787/metrics",
    )  # fmt: skip
    issue(web)
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("link rules reread")
    code, said = agent.end(signal.SIGTERM)

    assert "trafficd_build_info" in page
    about_it = [line for line in said if "web config" in line]
    assert about_it == ["exporter: web config not readable by sandbox.user; changes take a restart"]
    assert code == 0


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        (machine.LANDLOCK_CALLS, "trafficd: sandbox: this kernel has no Landlock: it takes"),
        (["seccomp"], "trafficd: sandbox: seccomp was refused: "),
        (["setresuid"], "trafficd: sandbox.user: nobody: cannot be become: "),
    ],
    ids=["landlock", "seccomp", "identity"],
)
def test_a_layer_that_cannot_be_installed_ends_the_agent_before_a_byte_is_counted(
    namespace: "Namespace", folder: Path, calls: list[str], told: str
) -> None:
    (folder / "agent.yml").write_text(machine.configuration() + "window: 5m\n")
    answer = "ENOSYS" if "landlock_add_rule" in calls else "EPERM"
    program = f"""
        import errno, os, sys
        from tests.sandbox import machine
        machine.forbid(dict.fromkeys({list(calls)!r}, errno.{answer}))
        os.execv(sys.executable, [sys.executable, "-m", "trafficd", "agent", "--state", "none",
                                  "--config", {str(folder / "agent.yml")!r}])
    """

    done = subprocess.run(
        ["ip", "netns", "exec", namespace.name, sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith(told)], done.stderr
    assert "counting" not in done.stderr
    assert "serving" not in done.stderr


def test_nothing_is_looked_for_once_a_half_is_locked(
    start: Start,
    folder: Path,
    public_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted = note_late_imports(folder, monkeypatch)
    agent = start(f"window: 5m\n{RULES}")
    agent.wait_until_ready()
    agent.namespace.run(sys.executable, "-c", ODD_REQUESTS)
    agent.namespace.ip("link", "add", "eth0", "type", "bridge")
    agent.namespace.ip("link", "del", "eth0")
    for text in (RULES, "nonsense: [", "\x00", "links: [{name: 1, class: x, capacity: y}]"):
        (folder / "agent.yml").write_text(f"{machine.configuration()}window: 5m\n{text}")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("reread|refused")
    agent.end(signal.SIGTERM)

    web = readable_web_config(public_folder)
    agent = start(f"window: 5m\nmetrics: {{web_config: {web / 'web.yml'}}}\n")
    agent.wait_until_ready()
    for text in ("nonsense: [", "tls_server_config: {}", (web / "web.yml").read_text()):
        issue(web)
        (web / "web.yml").write_text(f"# another\n{text}")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("web config re")
        for password in ("secret", "wrong"):
            agent.namespace.run(
                "curl", "-sk", "-u", f"prometheus:{password}", "--compressed",
                "https://127.0.0.1:9787/metrics", "-o", "/dev/null",
            )  # fmt: skip
    os.kill(agent.half("exporter"), signal.SIGKILL)
    agent.wait_for("exporter: serving")
    # Of the exporter, that is an end of its own.
    os.kill(agent.half("reader"), signal.SIGKILL)
    agent.wait_for_all("reader: counting", "exporter: serving")
    agent.end(signal.SIGTERM)

    # Seven halves were started.
    assert noted.read_text().splitlines() == ["shows_that_this_works"] * 7


def test_a_release_looks_for_nothing_either(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = note_late_imports(folder, monkeypatch)
    (folder / "agent.yml").write_text(RULES)

    done = subprocess.run(
        [sys.executable, "-m", "trafficd", "lab", "--config", str(folder / "agent.yml"),
         "--speed", "1800", "--metrics", "--", "true"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "trafficd_release_timestamp_seconds" in done.stdout
    assert noted.read_text().splitlines() == ["shows_that_this_works"] * 2


def test_root_that_may_lock_memory_locks_all_of_both_halves(start: Start) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    if machine.in_child(lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)).status:
        pytest.skip("root may not lift the limit of locked memory here")

    agent = start("window: 5m\n")
    agent.wait_until_ready()
    locked = [status(agent.half(half))["VmLck"] for half in ("reader", "exporter")]

    assert "0 kB" not in locked


def note_late_imports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'site'}:{Path.cwd()}")
    monkeypatch.setenv("NOTED", str(folder / "noted"))
    return folder / "noted"


def readable_web_config(web: Path) -> Path:
    """Fill a directory with a web config that everybody may read, key and all; return it."""
    issue(web)
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (web / "web.yml").write_text(
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f'basic_auth_users: {{prometheus: "{hashed}"}}\n'
    )
    return web


def issue(web: Path) -> None:
    """Write a new certificate and key in the places of the old."""
    Authority(web, "servers").issue("server", x509.DNSName("localhost"))
