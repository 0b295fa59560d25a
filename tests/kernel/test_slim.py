"""The reader's process loads nothing that could ask for more than links' counters and names."""

import subprocess
import sys

PROGRAM = """
import sys
from trafficd.kernel.slim import leave_out_what_is_not_asked_for
leave_out_what_is_not_asked_for()
import trafficd.reader.app
print(*(name for name in sys.modules if name.startswith("pyroute2")))
"""
# Clients of pyroute2 for what the reader must not see.
FORBIDDEN = (
    "pyroute2.iproute", "pyroute2.ndb", "pyroute2.conntrack", "pyroute2.netlink.diag",
    "pyroute2.netlink.generic", "pyroute2.netlink.nfnetlink", "pyroute2.netlink.rtnl.ndmsg",
    "pyroute2.netlink.rtnl.ifaddrmsg", "pyroute2.netlink.rtnl.rtmsg", "pyroute2.ipset",
)  # fmt: skip


def loaded(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


def test_a_reader_loads_no_client_for_neighbours_routes_connections_or_keys() -> None:
    modules = loaded(PROGRAM)

    assert "pyroute2.netlink.nlsocket" in modules
    assert [name for name in modules if name.startswith(FORBIDDEN)] == []


def test_without_it_they_would_be_loaded() -> None:
    modules = loaded(PROGRAM.replace("\nleave_out_what_is_not_asked_for()\n", "\n"))

    assert [name for name in modules if name.startswith(FORBIDDEN)] != []
