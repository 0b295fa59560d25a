"""Asks netfilter for rules that log packets, without any program of the host.

nf_tables tells its rules over netlink (linux/netfilter/nf_tables.h); iptables' older tables can
only be listed by its own program. Nothing is loaded into the kernel by asking.
"""

import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from trafficd.audit import proc
from trafficd.audit.finding import Unread

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
_NETLINK_NETFILTER = 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_GETRULE = (10 << 8) | 7
_HEADER = struct.Struct("=IHHII")
_FAMILY_UNSPEC = struct.pack("=BBH", 0, 0, 0)
# struct nlattr with NFTA_EXPR_NAME (1), as an attribute of eight bytes and four letters.
_LOG = struct.pack("=HH", 8, 1) + b"log\0"
# NFTA_TARGET_NAME (1) of iptables' rules in nf_tables; strings of those targets.
_TARGETS = (b"LOG\0", b"NFLOG\0", b"ULOG\0", b"NETFLOW\0", b"IPT_NETFLOW\0")
_LEGACY = (
    ("ip_tables_names", "iptables-legacy-save"),
    ("ip6_tables_names", "ip6tables-legacy-save"),
)
_SECONDS = 10.0
_BUFFER_BYTES = 1 << 18


def logging_rules() -> tuple[str, ...] | Unread:
    """Return a word for each kind of rule that logs; none is empty."""
    found = []
    if _has_nf_tables():
        rules = _nf_tables()
        if isinstance(rules, Unread):
            return rules
        found += [f"nf_tables, {count} rules" for count in [sum(map(_logs, rules))] if count]
    for names, program in _LEGACY:
        tables = proc.text(proc.PROC / "net" / names)
        if isinstance(tables, Unread) or not tables.strip():
            continue
        listed = _listed(program)
        if isinstance(listed, Unread):
            return listed
        count = sum(
            f"-j {each.decode().rstrip(chr(0))}" in line for line in listed for each in _TARGETS
        )
        if count:
            found.append(f"{program.removesuffix('-legacy-save')}, {count} rules")
    return tuple(found)


def _has_nf_tables() -> bool:
    """Tell whether nf_tables is there; asking a kernel that has it as a module would load it."""
    loaded = proc.text(proc.PROC / "modules")
    built_in = proc.text(Path("/lib/modules", os.uname().release, "modules.builtin"))
    if isinstance(loaded, Unread) or isinstance(built_in, Unread):
        return True
    return "\nnf_tables " in f"\n{loaded}" or "/nf_tables.ko" in built_in


def _nf_tables() -> list[bytes] | Unread:
    try:
        asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    except OSError:
        return []  # a kernel without netfilter has no rules
    with asked:
        asked.settimeout(_SECONDS)
        try:
            flags, size = _NLM_F_REQUEST | _NLM_F_DUMP, _HEADER.size + len(_FAMILY_UNSPEC)
            asked.send(_HEADER.pack(size, _GETRULE, flags, 1, 0) + _FAMILY_UNSPEC)
            return list(_answers(asked))
        except OSError as error:
            return Unread(f"rules of nf_tables: {error.strerror or error}")


def _answers(asked: socket.socket) -> Iterator[bytes]:
    """Yield each rule; a kernel without nf_tables answers with an error, and has none."""
    while True:
        datagram = asked.recv(_BUFFER_BYTES)
        while len(datagram) >= _HEADER.size:
            length, kind = struct.unpack_from("=IH", datagram)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                (number,) = struct.unpack_from("=i", datagram, _HEADER.size)
                if kind == _NLMSG_ERROR and number not in (0, -errno.EINVAL, -errno.EOPNOTSUPP):
                    raise OSError(-number, os.strerror(-number))
                return
            yield datagram[:length]
            datagram = datagram[(length + 3) // 4 * 4 :]


def _logs(rule: bytes) -> bool:
    targets = (struct.pack("=HH", 4 + len(each), 1) + each for each in _TARGETS)
    return _LOG in rule or any(each in rule for each in targets)


def _listed(program: str) -> list[str] | Unread:
    try:
        done = subprocess.run(  # noqa: S603  # a fixed name, no argument
            [program], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) else "failed"
        return Unread(f"rules of iptables: {program}: {reason}")
    return done.stdout.splitlines()
