"""The classic BPF programs on the reader's two sockets: what code inside it can ask a kernel.

``EVENTS`` is for the socket of the link group. It lets an RTM_NEWLINK or RTM_DELLINK in whole, or
not at all. It must not cut: the kernel gives the first listener of a broadcast the message itself,
not a copy, and what that listener's filter cuts off is then missing for every other program of the
host that follows links (net/netlink/af_netlink.c, do_one_broadcast). A message passes if it tells
of no person and no peer: no alias, no alternative name, no IP address as the hardware address, and
no settings of the link's kind but those of ``KINDS``.

``ANSWERS`` is for the socket without a group, whose messages are nobody else's. Counters of dumps
pass whole. An answer to RTM_GETLINK is cut behind its byte counters, or behind the name where an
alias or an IP address stands before the counters. A dump of links packs several answers into one
datagram, which cannot be cut, and does not pass.

What is left for code that asks these sockets all it can:

- ifindex, name, type, state, counters and MTU of every link; an Ethernet link's own MAC address;
- of a link whose events pass, the rest of their messages: its lower link, its queueing discipline,
  its IP settings (no addresses), the number of a VLAN, the numeric owner of a tun link;
- by RTM_GETLINK with a name, an alternative one too: whether a link has it, so names are guessed;
- that a link has an alias, and by the room its message takes in the queue how long it may be;
- by a dump of something else that ends without a word: that there is none of it; by the refusal of
  the next dump: that it takes more than a datagram. Where the kernel filtered a dump for one link
  or table that end does not pass, but the kernel does not mark filtered dumps of neighbours;
- how long the kernel takes to answer.

Both programs protect only what comes after ``attach``, which therefore empties the queue.
"""

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from trafficd.errors import SandboxError
from trafficd.sandbox.libc import libc_call

# asm-generic/socket.h
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_GET_FILTER = SO_ATTACH_FILTER
SO_LOCK_FILTER = 44

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h and linux/socket.h
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWSTATS, _RTM_GETSTATS = 92, 94
_NLM_F_MULTI, _NLM_F_DUMP_FILTERED = 0x2, 0x20
_AF_UNSPEC = 0
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_STATS64 = 3, 18, 20, 23
_IFLA_VFINFO_LIST, _IFLA_VF_PORTS, _IFLA_PORT_SELF, _IFLA_PROP_LIST = 22, 24, 25, 52
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_DATA = 1, 2, 5
_IFLA_BR_ROOT_PORT = 12
_STATS_FILTER_LINK_64 = 1
# linux/if_arp.h: ipip, ip6tnl, sit, gre and ip6gre. Their hardware address is their IP address, and
# their broadcast address is the peer's.
IP_ADDRESSED_TYPES = (768, 769, 776, 778, 823)
# The kinds whose settings name nobody, and bridges where they name no other bridge as the root; a
# kind without settings (wireguard, veth, dummy) need not be here.
KINDS = ("ppp", "tun", "ovpn", "vlan", "xfrm")

# struct nlmsghdr, struct ifinfomsg, struct if_stats_msg, struct nlmsgerr, struct nlattr
_TYPE_AT, _FLAGS_AT, _FAMILY_AT, _LINK_TYPE_AT, _FILTER_MASK_AT = 4, 6, 16, 18, 24
_REFUSED_TYPE_AT = 24
_ATTRIBUTES_AT = 32
_ATTRIBUTE_HEADER_BYTES = 4
# The first attribute's length is below 256: of its two bytes in host order, the low one.
_NAME_LENGTH_AT = _ATTRIBUTES_AT + (sys.byteorder == "big")
_LONGEST_NAME_BYTES = _ATTRIBUTE_HEADER_BYTES + 16  # IFNAMSIZ, linux/if.h
# struct rtnl_link_stats64 begins with packets and bytes in all versions, and grew at its end.
_COUNTED_BYTES = _ATTRIBUTE_HEADER_BYTES + 32
_DONE_BYTES = 20  # header and error number, without what the kernel says about it in words
_ERROR_BYTES = 36  # header, error number and the header of what was asked
_WHOLE = 0xFFFFFFFF

# linux/bpf_common.h and linux/filter.h
_LD_W, _LD_H, _LD_B, _LD_MEM, _LD_IMM = 0x20, 0x28, 0x30, 0x60, 0x00
_LDX_IMM, _LD_W_X, _LD_H_X, _LD_B_X = 0x01, 0x40, 0x48, 0x50
_ST, _TAX, _ADD, _RET, _RET_A = 0x02, 0x07, 0x04, 0x06, 0x16
_JA, _JEQ, _JGT, _JSET = 0x05, 0x15, 0x25, 0x45
# A is where to begin and X the type; then A is where the attribute is, or 0 (net/core/filter.c,
# bpf_skb_get_nlattr). With _NEST, A is where the nesting attribute is.
_NLATTR, _NLATTR_NEST = 0xFFFFF000 + 12, 0xFFFFF000 + 16
_FIND = {_NLATTR: "nlattr", _NLATTR_NEST: "nlattr_nest"}

_SOCK_FILTER = struct.Struct("=HBBI")
_SOCK_FPROG = struct.Struct("@HP")


@dataclass(frozen=True, slots=True)
class Instruction:
    """A struct sock_filter."""

    code: int
    jt: int
    jf: int
    k: int


Program = tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """An instruction that jumps to labels; no label is the next one."""

    code: int
    k: int = 0
    yes: str = ""
    no: str = ""


def carries_another(sock: socket.socket, program: Program) -> bool:
    """Tell whether *sock* carries a filter other than *program* that cannot be taken off.

    Raises: SandboxError if the kernel does not say.
    """
    try:
        return is_locked(sock) and installed(sock) != program
    except OSError as error:
        raise SandboxError(f"socket filter: cannot be read: {error.strerror}") from error


def attach(sock: socket.socket, program: Program) -> None:
    """Put *program* on *sock* for good, and throw away what is queued there unfiltered.

    A socket that already carries it for good stays as it is, with all that is queued.

    Raises: SandboxError if the socket carries another program, or cannot be locked.
    """
    try:
        carried = installed(sock)
        if carried == program and is_locked(sock):
            return
        if carried not in ((), program):
            raise SandboxError("socket filter: another one is attached: restart the socket's unit")
        code = ctypes.create_string_buffer(_packed(program))
        pointed = _SOCK_FPROG.pack(len(program), ctypes.addressof(code))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointed)
        sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
        # Asked for, because a kernel in user space may take the options and do nothing.
        is_there = installed(sock) == program and is_locked(sock)
        _empty(sock)
    except OSError as error:
        raise SandboxError(f"socket filter: cannot be installed: {error.strerror}") from error
    if not is_there:
        raise SandboxError("socket filter: the kernel took it and does not have it")


def installed(sock: socket.socket) -> Program:
    """Return the program that *sock* carries; none is empty.

    Raises: OSError if it carries one that is not classic BPF.
    """
    # The kernel counts in instructions here, which Python's own getsockopt takes for bytes.
    count = (ctypes.c_uint32 * 1)()
    arguments = sock.fileno(), socket.SOL_SOCKET, SO_GET_FILTER
    libc_call("getsockopt", *arguments, None, count)
    code = (ctypes.c_uint32 * (count[0] * 2))()
    libc_call("getsockopt", *arguments, code, count)
    return tuple(Instruction(*fields) for fields in _SOCK_FILTER.iter_unpack(bytes(code)))


def is_locked(sock: socket.socket) -> bool:
    """Tell whether the filter of *sock* can neither be taken off nor replaced."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER))


def disassemble(program: Program) -> list[str]:
    """Return *program* as readers of BPF write it; a jump says how many lines it leaves out."""
    return [_line(each) for each in program]


def _line(each: Instruction) -> str:
    if each.code == _LD_W and each.k in _FIND:
        return f"ld {_FIND[each.k]}"
    if each.code in (_JEQ, _JGT, _JSET):
        name = {_JEQ: "jeq", _JGT: "jgt", _JSET: "jset"}[each.code]
        return f"{name} #{each.k:#x}, {each.jt}, {each.jf}"
    return {
        _LD_W: "ld w[{}]",
        _LD_H: "ld h[{}]",
        _LD_B: "ld b[{}]",
        _LD_W_X: "ld w[x + {}]",
        _LD_H_X: "ld h[x + {}]",
        _LD_B_X: "ld b[x + {}]",
        _LD_MEM: "ld M[{}]",
        _LD_IMM: "ld #{}",
        _LDX_IMM: "ldx #{}",
        _ST: "st M[{}]",
        _TAX: "tax",
        _ADD: "add #{}",
        _JA: "ja {}",
        _RET: "ret #{}",
        _RET_A: "ret a",
    }.get(each.code, f"{each.code:#x} {each.jt} {each.jf} {{}}").format(each.k)


def _packed(program: Program) -> bytes:
    return b"".join(_SOCK_FILTER.pack(each.code, each.jt, each.jf, each.k) for each in program)


def _empty(sock: socket.socket) -> None:
    timeout = sock.gettimeout()
    sock.setblocking(False)
    is_empty = False
    while not is_empty:
        try:
            sock.recv(1)
        except BlockingIOError:
            is_empty = True
        except OSError as error:
            # More came than there was room for; nobody counts yet.
            if error.errno != errno.ENOBUFS:
                raise
    sock.settimeout(timeout)


def _as_loaded(value: int, size: int) -> int:
    """Return what BPF, which loads big-endian numbers, loads of a *value* in host order."""
    return int.from_bytes(value.to_bytes(size, sys.byteorder), "big")


def _half_is(value: int, *, yes: str = "", no: str = "") -> _Step:
    return _Step(_JEQ, _as_loaded(value, 2), yes, no)


def _find(attribute: int, *, yes: str = "", no: str = "") -> Iterator[_Step]:
    """Jump by whether the message has *attribute*; then A is where."""
    yield _Step(_LDX_IMM, attribute)
    yield _Step(_LD_IMM, _ATTRIBUTES_AT)
    yield _Step(_LD_W, _NLATTR)
    yield _Step(_JEQ, 0, no, yes)


def _find_in_info(attribute: int, *, yes: str = "", no: str = "") -> Iterator[_Step]:
    """Jump by whether the IFLA_LINKINFO at M[0] has *attribute*; then A is where."""
    yield _Step(_LDX_IMM, attribute)
    yield _Step(_LD_MEM, 0)
    yield _Step(_LD_W, _NLATTR_NEST)
    yield _Step(_JEQ, 0, no, yes)


def _is_of_one_link(drop: str) -> Iterator[_Step]:
    """Drop the message of a dump, and of a bridge, IPv6 or multicast routing about its links.

    Those write addresses right behind the name: net/ipv6/addrconf.c, inet6_fill_ifinfo.
    """
    yield _Step(_LD_H, _FLAGS_AT)
    yield _Step(_JSET, _as_loaded(_NLM_F_MULTI, 2), drop)
    yield _Step(_LD_B, _FAMILY_AT)
    yield _Step(_JEQ, _AF_UNSPEC, no=drop)


def _has_ip_address(yes: str) -> Iterator[_Step]:
    yield _Step(_LD_H, _LINK_TYPE_AT)
    for link_type in IP_ADDRESSED_TYPES:
        yield _half_is(link_type, yes=yes)


def _kind_is(kind: str, yes: str) -> Iterator[_Step | str]:
    """Jump if X is the IFLA_INFO_KIND *kind*, a string of up to four letters and its end."""
    first, rest = kind[:4].encode().ljust(4, b"\0"), kind[4:].encode() + b"\0"
    other = f"not {kind}"
    yield _Step(_LD_W_X, _ATTRIBUTE_HEADER_BYTES)
    if len(kind) < len(first):
        yield _Step(_JEQ, int.from_bytes(first, "big"), yes)
        return
    yield _Step(_JEQ, int.from_bytes(first, "big"), no=other)
    for place, letter in enumerate(rest, start=_ATTRIBUTE_HEADER_BYTES + len(first)):
        yield _Step(_LD_B_X, place)
        yield _Step(_JEQ, letter, no=other)
    yield _Step(_JA, yes=yes)
    yield other


def _jump_by_kind(harmless: str, drop: str) -> Iterator[_Step | str]:
    yield _Step(_TAX)
    for kind in KINDS:
        yield from _kind_is(kind, harmless)
    yield from _kind_is("bridge", "bridge")
    yield _Step(_JA, yes=drop)
    # IFLA_BR_ROOT_PORT is 0 where the bridge itself is the root, and its settings name no other.
    yield "bridge"
    yield from _find_in_info(_IFLA_INFO_DATA, no=drop)
    yield _Step(_LDX_IMM, _IFLA_BR_ROOT_PORT)
    yield _Step(_LD_W, _NLATTR_NEST)
    yield _Step(_JEQ, 0, drop)
    yield _Step(_TAX)
    yield _Step(_LD_H_X, _ATTRIBUTE_HEADER_BYTES)
    yield _Step(_JEQ, 0, harmless, drop)


def _assembled(*source: _Step | str) -> Program:
    """Return the program of *source*, in which a string is the label of what follows it."""
    places: dict[str, int] = {}
    steps: list[_Step] = []
    for each in source:
        if isinstance(each, str):
            places[each] = len(steps)
        else:
            steps.append(each)
    return tuple(_instruction(step, number, places) for number, step in enumerate(steps))


def _instruction(step: _Step, number: int, places: dict[str, int]) -> Instruction:
    yes, no = (places[label] - number - 1 if label else 0 for label in (step.yes, step.no))
    if step.code == _JA:
        return Instruction(step.code, 0, 0, yes)
    return Instruction(step.code, yes, no, step.k)


EVENTS = _assembled(
    _Step(_LD_H, _TYPE_AT),
    _half_is(_RTM_NEWLINK, yes="link"),
    _half_is(_RTM_DELLINK, no="drop"),
    "link",
    *_is_of_one_link("drop"),
    *_has_ip_address("drop"),
    *_find(_IFLA_IFALIAS, yes="drop"),
    *_find(_IFLA_PROP_LIST, yes="drop"),
    # What a request for the message, sent from within, can add: addresses of virtual machines.
    *_find(_IFLA_VFINFO_LIST, yes="drop"),
    *_find(_IFLA_VF_PORTS, yes="drop"),
    *_find(_IFLA_PORT_SELF, yes="drop"),
    # A message without counters is a wireless event, which names the access point.
    *_find(_IFLA_STATS64, no="drop"),
    *_find(_IFLA_LINKINFO, no="pass"),
    _Step(_ST, 0),
    *_find_in_info(_IFLA_INFO_SLAVE_DATA, yes="drop"),
    *_find_in_info(_IFLA_INFO_DATA, no="pass"),
    *_find_in_info(_IFLA_INFO_KIND, no="drop"),
    *_jump_by_kind("pass", "drop"),
    "pass",
    _Step(_RET, _WHOLE),
    "drop",
    _Step(_RET, 0),
)  # fmt: skip

ANSWERS = _assembled(
    _Step(_LD_H, _TYPE_AT),
    _half_is(_RTM_NEWSTATS, yes="stats"),
    _half_is(_RTM_NEWLINK, yes="link"),
    _half_is(_NLMSG_DONE, yes="done"),
    _half_is(_NLMSG_ERROR, no="drop"),
    # Else it would be an oracle: RTM_GETNEIGH says by its error that there is no such neighbour.
    _Step(_LD_H, _REFUSED_TYPE_AT),
    _half_is(_RTM_GETSTATS, yes="error"),
    _half_is(_RTM_GETLINK, no="drop"),
    "error",
    _Step(_RET, _ERROR_BYTES),
    "done",
    _Step(_LD_H, _FLAGS_AT),
    _Step(_JSET, _as_loaded(_NLM_F_DUMP_FILTERED, 2), "drop"),
    _Step(_RET, _DONE_BYTES),
    "stats",
    # All messages of a dump have the filter that was asked for; others hold a bridge's details.
    _Step(_LD_W, _FILTER_MASK_AT),
    _Step(_JEQ, _as_loaded(_STATS_FILTER_LINK_64, 4), no="drop"),
    _Step(_RET, _WHOLE),
    "link",
    *_is_of_one_link("drop"),
    *_has_ip_address("name"),
    *_find(_IFLA_IFALIAS, yes="name"),
    *_find(_IFLA_STATS64, no="name"),
    _Step(_ADD, _COUNTED_BYTES),
    _Step(_RET_A),
    "name",
    # Asked for names only, a kernel newer than 7.1 writes the alternative ones right behind it.
    _Step(_LD_H, _ATTRIBUTES_AT + 2),
    _half_is(_IFLA_IFNAME, no="drop"),
    _Step(_LD_B, _NAME_LENGTH_AT),
    _Step(_JGT, _LONGEST_NAME_BYTES, "drop"),
    _Step(_ADD, _ATTRIBUTES_AT),
    _Step(_RET_A),
    "drop",
    _Step(_RET, 0),
)  # fmt: skip
