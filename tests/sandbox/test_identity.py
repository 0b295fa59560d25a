"""Who a half is once it is locked."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.machine import in_child
from trafficd.config import Layer, SandboxSettings
from trafficd.sandbox.apply import Half, enter_sandbox

pytestmark = pytest.mark.kernel
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or "4294967295" not in Path("/proc/self/uid_map").read_text(),
    reason="needs root, and not that of a user namespace",
)

NOTHING = SandboxSettings(absent=tuple(Layer))
NOBODY = pwd.getpwnam("nobody")
PR_SET_PDEATHSIG = 1

# Prints its own status as it is once locked.
LOCKED = """
import os, sys
from trafficd.config import Layer, SandboxSettings
from trafficd.errors import SandboxError
from trafficd.sandbox.apply import Half, enter_sandbox
opened = open("/proc/self/status")
out = os.dup(1)
try:
    settings = SandboxSettings(user=sys.argv[1], absent=tuple(Layer))
    enter_sandbox(Half.READER, settings)
except SandboxError as error:
    sys.exit(str(error))
os.write(out, opened.read().encode())
"""


def status_of(*before: str, user: str = "nobody") -> dict[str, str]:
    """Return /proc/self/status of a process that *before* starts and that is locked."""
    done = subprocess.run(
        [*before, sys.executable, "-c", LOCKED, user],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        key: rest.strip() for key, rest in (line.split(":", 1) for line in done.stdout.splitlines())
    }


def error_of(*before: str, user: str) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", LOCKED, user],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr.strip()


def capabilities(status: dict[str, str]) -> dict[str, int]:
    return {key: int(value, 16) for key, value in status.items() if key.startswith("Cap")}


@as_root
def test_root_becomes_the_user_without_a_capability_and_for_good() -> None:
    status = status_of()

    assert status["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert status["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    groups = os.getgrouplist("nobody", NOBODY.pw_gid)
    assert sorted(map(int, status["Groups"].split())) == sorted(groups)
    assert capabilities(status) == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0
    )
    assert status["NoNewPrivs"] == "1"


@as_root
def test_what_root_alone_may_read_is_out_of_reach_and_root_cannot_be_had_back(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)

    def try_to() -> str:
        enter_sandbox(Half.READER, NOTHING)
        refused = []
        for attempt in (secret.read_text, lambda: os.setuid(0), lambda: os.setgroups([0])):
            try:
                attempt()
            except PermissionError:
                refused.append("refused")
        return " ".join(refused)

    assert in_child(try_to).said == "refused refused refused"


@as_root
def test_a_user_that_does_not_exist_is_named() -> None:
    assert error_of(user="no-such-user") == (
        "sandbox.user: no-such-user: no such user here; create it or name another"
    )


@as_root
def test_root_by_another_name_is_refused(tmp_path: Path) -> None:
    users = tmp_path / "passwd"
    users.write_text(Path("/etc/passwd").read_text() + "toor:x:0:0::/root:/bin/sh\n")
    script = f'mount --bind {users} /etc/passwd && exec "$@"'

    said = error_of("unshare", "--mount", "sh", "-c", script, "-", user="toor")

    assert said == "sandbox.user: toor: is root by another name; name another user"


@as_root
def test_root_that_lacks_a_capability_it_needs_fails_closed() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")

    said = error_of("setpriv", "--bounding-set", "-setuid,-setgid", user="nobody")

    assert said.startswith("sandbox.user: nobody: cannot be become: Operation not permitted; start")


@as_root
def test_capabilities_of_a_user_that_is_not_root_are_given_up() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    someone = ("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups")
    raised = ("--inh-caps", "+net_admin,+net_raw", "--ambient-caps", "+net_admin,+net_raw")

    status = status_of(*someone, *raised)

    assert status["Uid"].split() == ["12345"] * 4
    found = capabilities(status)
    # Without CAP_SETPCAP the bounding set stays; no_new_privs closes the way through it.
    del found["CapBnd"]
    assert found == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), 0)
    assert status["NoNewPrivs"] == "1"


@as_root
def test_who_has_nothing_to_give_up_needs_no_right_to() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    someone = ("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups")

    status = status_of(*someone, user="no-such-user")

    assert status["Uid"].split() == ["12345"] * 4
    assert status["NoNewPrivs"] == "1"


def test_root_of_a_user_namespace_without_the_user_stays_and_has_no_capability() -> None:
    enter = ("unshare", "--user", "--map-root-user")
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces")

    status = status_of(*enter)

    assert set(capabilities(status).values()) == {0}
    assert status["NoNewPrivs"] == "1"


def test_a_process_that_dies_with_its_parent_still_does() -> None:
    libc = ctypes.CDLL(None)
    reading, writing = os.pipe()

    def parent() -> None:
        child = os.fork()
        if not child:
            os.close(reading)
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            enter_sandbox(Half.READER, NOTHING)
            os.write(writing, b"locked")
            signal.pause()
        os.read(reading, 6)

    in_child(parent)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        # Its end of the pipe is closed, so it is gone.
        rest = pipe.read()

    assert rest == b""
