"""The tests that speak with a kernel, on Debian 12's: its links, its filters, its messages."""

import re
import sys

import pytest

from tests.system.debian_kernel import run_in_debian_kernel
from tests.system.debian_packages import MachineError

# For each group, in a machine of its own; three to six minutes on two slow cores.
SECONDS = 840
KERNEL_TESTS = {
    "links": "tests/kernel tests/reader tests/accounting tests/test_node.py",
    "sandbox": "tests/sandbox",
    # A running agent of which every line of the audit passes, and layers taken away from one.
    "audit": (
        "tests/commands/test_audit.py::test_all_of_a_running_agent_passes"
        " tests/commands/test_audit.py::test_a_layer_that_is_named_absent_fails"
    ),
    # What only this kernel has for hostile code to ask: peers of a WireGuard link, IPsec states.
    "evil": "tests/evil -k 'WireGuard or IPsec'",
}
# What computes for long on recorded bytes, drawn bytes or a fake clock tells little more about a
# kernel; links by the thousand take minutes to make; and the unit file is systemd's matter.
LEFT_OUT = (
    *("flipped_bytes", "cut_datagram", "cut_event", "likely_messages", "done_to_the_clock"),
    *("test_many_links.py", "test_unit.py"),
)
# ovpn links came with Linux 6.16, and tests say "needs Linux" with the version they need.
NOT_THERE = ("no ovpn links", "needs Linux", "this kernel does not leave the counters out")
# The kernel gives every namespace a tunnel of each type it has loaded; tests count what they made.
NO_FALLBACK_TUNNELS = "echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net"


def test_a_command_runs_as_root_on_debians_kernel_and_its_status_and_output_come_back() -> None:
    script = "uname -r; id -u; cat /etc/hello; trafficd --version; echo trouble >&2; exit 7"

    outcome = run_in_debian_kernel(["sh", "-c", script], files={"/etc/hello": b"hello\n"})

    release, user, *rest = outcome.output.splitlines()
    assert re.fullmatch(r"6\.1\.0-\d+-amd64", release)
    assert user == "0"
    assert rest[0] == "hello"
    assert rest[1].startswith("trafficd ")
    assert rest[2:] == ["trouble"]
    assert outcome.status == 7


def test_a_command_that_does_not_end_is_ended_with_its_machine() -> None:
    with pytest.raises(MachineError, match="was not off after 20 s"):
        run_in_debian_kernel(["sleep", "infinity"], seconds=20)


def test_a_kernel_that_panics_ends_the_machine_at_once_and_its_last_words_are_told() -> None:
    with pytest.raises(MachineError, match=r"(?s)died.*sysrq triggered crash"):
        run_in_debian_kernel(["sh", "-c", "echo c >/proc/sysrq-trigger; sleep infinity"])


@pytest.mark.parametrize("group", KERNEL_TESTS)
def test_kernel_tests_pass_there_and_skip_only_what_its_kernel_has_not(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Interrupted when time is short, pytest tells what failed; one that hangs is named before.
    pytest_there = (
        f"exec timeout --signal=INT {SECONDS - 40} python3 -m pytest -p no:cacheprovider -m kernel"
        f" -o faulthandler_timeout=100 -k '{' and '.join(f'not {each}' for each in LEFT_OUT)}'"
        f" {KERNEL_TESTS[group]}"
    )
    script = f"{NO_FALLBACK_TUNNELS}; {pytest_there}"

    with capsys.disabled():
        outcome = run_in_debian_kernel(["sh", "-c", script], seconds=SECONDS, shown_on=sys.stdout)

    skipped = re.findall(r"(?m)^SKIPPED .*", outcome.output)
    assert [each for each in skipped if not any(why in each for why in NOT_THERE)] == []
    assert outcome.status == 0
