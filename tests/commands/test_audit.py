"""trafficd audit: what it says of a running agent, and of one from which a layer was taken."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.audit.installation import (
    HAS_SWAP,
    Installation,
    lock_is_missing,
    temporary_installation,
)
from tests.conftest import make_namespace
from tests.service.test_web_config import TLS, Authority
from trafficd import cli
from trafficd.audit.claims import CLAIMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Namespace

pytestmark = pytest.mark.kernel

HALVES = ("reader", "exporter")
CALLS = {each.partition(".")[2] for each in CLAIMS if ".calls." in each}
SWAP = {"configuration.swap", *(("reader.swap", "exporter.swap") if HAS_SWAP else ())}
LEFT_ALONE = {"reader.state_swap"} if HAS_SWAP else set()
# What a test's own trick costs: it is seen that other code was slipped in.
SLIPPED_IN = {"reader.program", "exporter.program"}


def of_both(*names: str) -> set[str]:
    return {f"{half}.{name}" for half in HALVES for name in names}


@pytest.fixture(scope="module")
def installed() -> Iterator[Installation]:
    """One installation for all tests: what a test changes in it, it puts back."""
    with temporary_installation() as found:
        yield found


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    def write(*absent: str, more: str = "", name: str = "agent.yml") -> Path:
        layers = {*absent, *(["swap"] if lock_is_missing() else [])}
        file = tmp_path / name
        file.write_text(
            f"window: 5m\nsandbox: {{absent: [{', '.join(sorted(layers))}]}}\n"
            "links:\n- {name: ppp*, class: l2tp}\n- {name: wg*, class: wg, population: shared}\n"
            f"{more}"
        )
        return file

    return write


@pytest.fixture
def unlockable() -> set[str]:
    """What fails where memory cannot be locked, and where there is swap for a state left alone."""
    return (SWAP if lock_is_missing() else set()) | LEFT_ALONE


def test_all_of_a_running_agent_passes(
    installed: Installation,
    namespace: Namespace,
    config: Callable[..., Path],
    unlockable: set[str],
) -> None:
    file = config()

    with installed.agent(namespace, file):
        audit = installed.audit(file, "--nonce", "tell me & \x1b again")

    assert audit.of("FAIL") == unlockable, audit.claims
    assert audit.of("UNKNOWN") == set(), audit.claims
    assert [*dict.fromkeys(each["id"] for each in audit.claims)] == [*CLAIMS]
    assert audit.whole["nonce"] == "tell me & \x1b again"
    is_passed = all(each["verdict"] == "PASS" for each in audit.claims)
    assert audit.whole["passed"] is is_passed
    assert audit.code == (0 if is_passed else 1)
    assert 'trafficd_class_receive_bytes_total{class="l2tp"} 0.0\n' in str(audit.whole["message"])
    assert "wg" in audit.evidence("message.populations")
    disassembly = next(each for each in audit.claims if each["id"] == "reader.filters")["details"]
    assert any("EVENTS 000: ld h[4]" in line for line in disassembly)


@pytest.mark.parametrize("host", ["127.0.0.1", "collector.invalid"], ids=["address", "name"])
def test_all_of_an_agent_that_pushes_passes_and_of_another_configuration_fails(
    installed: Installation,
    namespace: Namespace,
    config: Callable[..., Path],
    unlockable: set[str],
    tmp_path: Path,
    host: str,
) -> None:
    (tmp_path / "push").mkdir()
    token = tmp_path / "push" / "token"
    token.write_text("secret")
    to = f"push: [{{name: centre, url: 'http://{host}:9/', bearer_token_file: {token}}}]\n"
    pushing = config(more=to)

    with installed.agent(namespace, pushing):
        audit = installed.audit(pushing)
        other = installed.audit(config())

    assert audit.of("FAIL") == unlockable, audit.claims
    assert audit.of("UNKNOWN") == set(), audit.claims
    series = 'trafficd_push_sent_releases_total{destination="centre"} 0.0\n'
    assert series in str(audit.whole["message"])
    found = {"calls.network", "calls.read", "calls.rest", "landlock"}
    assert other.of("FAIL") - unlockable >= {
        *(f"exporter.{each}" for each in found),
        "message.series",
    }


def test_the_report_for_people_is_a_line_a_claim_and_the_page(
    installed: Installation, namespace: Namespace, config: Callable[..., Path]
) -> None:
    file = config()

    with installed.agent(namespace, file) as agent:
        command = [str(installed.python), "-m", "trafficd", "audit", "--config", str(file)]
        command.append("--details")
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60)
        left = Path(f"/proc/{agent.half('reader')}/status").read_text()

    lines = done.stdout.splitlines()
    told = [re.match(r"(PASS|FAIL|UNKNOWN) +([\w.]+): .+ \| .+ \| .+", line) for line in lines]
    assert [*dict.fromkeys(each[2] for each in told if each)] == [*CLAIMS]
    assert "    trafficd_release_timestamp_seconds 0.0" in lines
    assert re.fullmatch(r"\d+ PASS, \d+ FAIL, \d+ UNKNOWN", lines[-1])
    # Whoever was looked into goes on.
    assert "TracerPid:\t0" in left
    assert "State:\tS" in left


@pytest.mark.parametrize(
    ("absent", "failing"),
    [
        (("seccomp",), {"configuration.seccomp", *of_both("seccomp", "landlock", *CALLS)}),
        (("landlock",), {"configuration.landlock", *of_both("landlock")}),
        (("swap",), SWAP),
    ],
    ids=["seccomp", "landlock", "swap"],
)
def test_a_layer_that_is_named_absent_fails(
    installed: Installation,
    namespace: Namespace,
    config: Callable[..., Path],
    unlockable: set[str],
    absent: tuple[str, ...],
    failing: set[str],
) -> None:
    file = config(*absent)

    with installed.agent(namespace, file):
        audit = installed.audit(file)

    assert audit.of("FAIL") == failing | unlockable
    assert audit.of("UNKNOWN") == set()
    assert audit.code == 1


APPLY = "import trafficd.sandbox.apply as apply, mmap, os, socket, sys\n"
# Called with all open and the filter not yet there: what is opened in it stays open.
LAST = f"""{APPLY}
hide, kept = apply.hide_memory, []
def hide_and_open():
    hide()
    last()
apply.hide_memory = hide_and_open
"""
# Each is code that Python runs first in every process, and what must fail for it.
VARIANTS = {
    "no change of identity": (
        f"{APPLY}apply.become_unprivileged = lambda user: None",
        of_both("identity", "capabilities", "no_new_privileges"),
    ),
    "dumpable as any process, with a socket of both directions": (
        f"""{APPLY}
from trafficd.sandbox.libc import prctl
apply.hide_memory = lambda: prctl(4, 1)
socket.socket.shutdown = lambda *_: None
""",
        of_both("memory_hidden", "core") | {"reader.handoff", "agent.sockets"},
    ),
    "a filter that lets more through": (
        f"""{APPLY}
names = ("socket", "ioctl", "openat", "kill", "bpf", "prctl", "memfd_create")
more = [apply.seccomp.Call(each) for each in names]
for half in ("READER", "EXPORTER"):
    setattr(apply.seccomp, half, (*getattr(apply.seccomp, half), *more))
""",
        of_both("landlock", *CALLS - {"calls.foreign"}),
    ),
    "more open than it needs, and no filters on its sockets": (
        f"""{LAST}
import trafficd.kernel.sockets as sockets
sockets.attach = lambda *_: None
def last():
    kept.append(open("/var/tmp/trafficd-audit-test", "w+b", buffering=0))
    os.unlink("/var/tmp/trafficd-audit-test")
    kept.append(mmap.mmap(-1, 4096))
    if "reader" in sys.orig_argv:
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        return
    kept.append(socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM))
    kept.append(socket.socket())
    kept[-1].bind(("127.0.0.1", 0))
""",
        of_both("descriptors", "no_file_written", "memory")
        | {"reader.filters", "exporter.listeners"},
    ),
    "memory to write and to execute, filters that are others, and an agent that keeps a socket": (
        f"""{LAST}
import trafficd.kernel.sockets as sockets, trafficd.sandbox.socket_filter as filters
attach, open_all = sockets.attach, sockets.open_all_link_sockets
end = filters.Instruction(6, 0, 0, 0)
sockets.attach = lambda sock, program: attach(sock, (*program, end))
def open_and_keep(names):
    found = open_all(names)
    kept.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
    return found
sockets.open_all_link_sockets = open_and_keep
if "reader" in sys.orig_argv:
    sockets.filter_sockets = lambda _: True
def last():
    kept.append(mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7))
""",
        of_both("memory") | {"reader.filters", "agent.sockets"},
    ),
    "a further group, input and output, a core limit, and a page that says more": (
        f"""{APPLY}
import trafficd.kernel.sockets as sockets
from trafficd.sandbox.libc import prctl
apply.hide_memory = lambda: prctl(4, 0)
apply._leave_standard_streams = lambda: os.dup2(2, 1)
open_all = sockets.open_all_link_sockets
def open_and_join(names):
    found = open_all(names)
    found[0].dumps.setsockopt(270, 1, 33)
    return found
sockets.open_all_link_sockets = open_and_join
if "exporter" in sys.orig_argv:
    import trafficd.exporter.metrics as metrics
    page = metrics._page
    more = b'trafficd_link_receive_bytes_total{{link="ppp0"}} 7.0\\n'
    wrong = b'l2tp"}} 4711.0'
    metrics._page = lambda kind, body: page(kind, body.replace(b'l2tp"}} 0.0', wrong) + more)
""",
        of_both("descriptors", "core")
        | {"reader.groups", "reader.filters", "message.series", "message.values"},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_taken_away_fails_and_nothing_else(
    installed: Installation,
    namespace: Namespace,
    config: Callable[..., Path],
    unlockable: set[str],
    name: str,
) -> None:
    variant, failing = VARIANTS[name]
    absent = ("seccomp",) if name == "no change of identity" else ()
    file = config(*absent)

    with installed.agent(namespace, file, variant):
        audit = installed.audit(file)

    expected = failing | unlockable | SLIPPED_IN
    if absent:
        # The filter itself takes that no more privileges can be had.
        expected |= {"configuration.seccomp", *of_both("seccomp", "landlock", *CALLS)}
    assert audit.of("FAIL") == expected, audit.claims
    assert audit.of("UNKNOWN") == set()


@contextlib.contextmanager
def changed(file: Path, content: bytes) -> Iterator[None]:
    """Let *file* hold something else for a while."""
    before = file.read_bytes() if file.exists() else None
    file.write_bytes(content)
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_bytes(before)


def test_files_that_are_not_those_of_the_record_fail(
    installed: Installation,
    namespace: Namespace,
    config: Callable[..., Path],
    unlockable: set[str],
) -> None:
    file, package = config(), installed.package
    source = package / "schema.py"
    library = package.parent / "prometheus_client" / "registry.py"
    compiled = package / "__pycache__" / f"links.{sys.implementation.cache_tag}.pyc"

    with installed.agent(namespace, file):
        with changed(source, source.read_bytes() + b"\n"):
            of_source = installed.audit(file)
        with (
            changed(package / "reader" / "tap.py", b""),
            changed(compiled, compiled.read_bytes()[:16] + b"N"),
            changed(library, library.read_bytes() + b"\n"),
            changed(package.parent / "more.pth", b"import os\n"),
            changed(package.parent / "sitecustomize.py", b"import os\n"),
            changed(package.parent / "usercustomize.py", b"# nothing\n"),
        ):
            package.chmod(0o777)
            of_all = installed.audit(file)
            package.chmod(0o755)

    assert of_source.of("FAIL") == {"code.files"} | SLIPPED_IN | unlockable
    assert "trafficd/schema.py" in of_source.evidence("code.files")
    assert "changed after it was started" in of_source.evidence("reader.program")
    broken = {"code.files", "code.nothing_beside", "code.start", "code.owner"}
    assert of_all.of("FAIL") == broken | SLIPPED_IN | unlockable
    assert "trafficd/reader/tap.py" in of_all.evidence("code.nothing_beside")
    assert compiled.name in of_all.evidence("code.files")
    assert "registry.py" in of_all.evidence("code.start")
    assert "more.pth" in of_all.evidence("code.start")
    assert "sitecustomize.py" in of_all.evidence("code.start")
    assert "usercustomize.py" not in of_all.evidence("code.start")


def test_what_lies_where_the_agent_was_started_is_not_imported_and_the_environment_is_told(
    installed: Installation, namespace: Namespace, config: Callable[..., Path], tmp_path: Path
) -> None:
    file = config()
    (tmp_path / "tomllib.py").write_text("")
    environment = {**os.environ, "LD_LIBRARY_PATH": "/nowhere"}

    with installed.agent(namespace, file, cwd=tmp_path, environment=environment):
        audit = installed.audit(file)

    assert audit.of("FAIL") >= SLIPPED_IN
    assert "tomllib.py" not in audit.evidence("reader.program")
    assert "LD_LIBRARY_PATH was set" in audit.evidence("reader.program")


def test_a_configuration_that_changed_since_is_unknown(
    installed: Installation, namespace: Namespace, config: Callable[..., Path]
) -> None:
    file = config()

    with installed.agent(namespace, file):
        before = installed.audit(file)
        file.write_text(f"# a comment\n{file.read_text()}")
        commented = installed.audit(file)
        file.write_text(file.read_text().replace("5m", "10m"))
        changed_window = installed.audit(file)

    assert commented.of("UNKNOWN") == {"configuration.settings"}
    digests = [
        each.evidence("configuration.settings").partition(";")[0]
        for each in (before, commented, changed_window)
    ]
    assert digests[0] == digests[1] != digests[2]
    assert commented.code == 1


TRACE = """
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()
print("seized", flush=True)
time.sleep(60)
"""


def test_a_debugger_fails_and_keeps_the_filter_from_being_read(
    installed: Installation,
    namespace: Namespace,
    config: Callable[..., Path],
    unlockable: set[str],
) -> None:
    file = config()

    with installed.agent(namespace, file) as agent:
        command = [sys.executable, "-c", TRACE, str(agent.half("reader"))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tracer:
            assert tracer.stdout is not None
            assert tracer.stdout.readline() == "seized\n"
            audit = installed.audit(file)
            tracer.kill()

    assert audit.of("FAIL") == {"reader.untraced"} | unlockable
    assert audit.of("UNKNOWN") == {"reader.landlock", *(f"reader.{each}" for each in CALLS)}


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody can read, as a web config's is."""
    with tempfile.TemporaryDirectory(prefix="trafficd-audit-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_a_page_behind_tls_and_a_user_is_had_with_credentials(
    installed: Installation,
    namespace: Namespace,
    config: Callable[..., Path],
    tmp_path: Path,
    open_directory: Path,
) -> None:
    hashed = bcrypt.hashpw(b"Tr0ub4dor", bcrypt.gensalt(4)).decode()
    web = open_directory / "web.yml"
    Authority(open_directory, "server")
    web.write_text(f"{TLS}basic_auth_users: {{scraper: {hashed}}}\n")
    login, wrong = tmp_path / "login", tmp_path / "wrong"
    login.write_text("scraper:Tr0ub4dor\n")
    wrong.write_text("scraper:guess\n")
    file = config(more=f"metrics: {{web_config: {web}}}")

    with installed.agent(namespace, file):
        without = installed.audit(file)
        with_wrong = installed.audit(file, "--credentials", str(wrong))
        with_right = installed.audit(file, "--credentials", str(login))
        missing = installed.audit(file, "--credentials", str(tmp_path / "none"))

    assert without.of("UNKNOWN") == {"message.series", "message.values"}
    assert "--credentials" in without.evidence("message.series")
    assert "401" in with_wrong.evidence("message.series")
    assert with_right.of("UNKNOWN") == set()
    # A web config is read anew: reading must pass, and nothing else than that.
    assert with_right.of("FAIL") <= SWAP | LEFT_ALONE
    assert "Landlock" in with_right.evidence("exporter.calls.read")
    assert (
        missing.errors
        == f"trafficd: {tmp_path / 'none'}: cannot be read: No such file or directory\n"
    )
    assert "Tr0ub4dor" not in with_right.output


def test_agents_are_told_apart_by_their_files_and_by_their_processes(
    installed: Installation,
    namespace: Namespace,
    other_namespace: Namespace,
    config: Callable[..., Path],
    unlockable: set[str],
) -> None:
    file, other = config(), config("landlock", name="other.yml")

    with installed.agent(namespace, file) as agent, installed.agent(other_namespace, other):
        of_one, of_other = installed.audit(file), installed.audit(other)
        with make_namespace() as third, installed.agent(third, file) as twin:
            several = installed.audit(file)
            chosen = installed.audit(file, "--pid", str(twin.process))

    assert of_one.of("FAIL") == unlockable
    assert of_other.of("FAIL") >= {"configuration.landlock"}
    assert several.code == 1
    assert several.errors.startswith("trafficd: 2 processes are a reader for")
    assert str(agent.process) in several.errors
    assert len(several.errors.splitlines()) == 1
    assert chosen.of("FAIL") == unlockable


def test_no_agent_is_one_line(installed: Installation, config: Callable[..., Path]) -> None:
    file = config()

    audit = installed.audit(file)

    assert (audit.code, audit.output) == (1, "")
    assert audit.errors == f"trafficd: no reader is running for {file}; see: pgrep -af trafficd\n"


def test_who_is_not_root_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    code = cli.main(["audit", "--config", str(tmp_path / "agent.yml")])

    assert code == 1
    assert capsys.readouterr().err.startswith("trafficd: audit: only root may ask")
