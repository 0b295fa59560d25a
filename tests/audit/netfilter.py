"""Makes a rule of nf_tables by hand, for want of `nft` (linux/netfilter/nf_tables.h)."""

import os
import socket
import struct

import pytest

_NEWTABLE, _NEWCHAIN, _NEWRULE = 0, 3, 6
_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_CREATE = 0x1, 0x4, 0x400
_NFPROTO_IPV4 = 2
_NESTED = 0x8000


def add_rule(expression: str) -> None:
    """Add a rule with the one *expression* to the network namespace of this thread.

    In capitals it is a target of iptables, as its successor writes it.
    """
    name, data = expression, b""
    if expression.isupper():
        # NFTA_TARGET_NAME, _REV, _INFO: struct xt_log_info, level, flags and prefix.
        name = "target"
        data = _text(1, expression) + _attribute(2, struct.pack("!I", 0))
        data += _attribute(3, struct.pack("=BB30s", 4, 0, b""))
    element = _text(1, name) + _attribute(2 | _NESTED, data)
    rule = _text(1, "t") + _text(2, "c") + _attribute(4 | _NESTED, _attribute(1 | _NESTED, element))
    batch = (
        _message(_BEGIN, 0, b"", resource=_SUBSYSTEM),
        _message(_SUBSYSTEM << 8 | _NEWTABLE, _NLM_F_CREATE, _text(1, "t")),
        _message(_SUBSYSTEM << 8 | _NEWCHAIN, _NLM_F_CREATE, _text(1, "t") + _text(3, "c")),
        _message(_SUBSYSTEM << 8 | _NEWRULE, _NLM_F_CREATE | _NLM_F_ACK, rule),
        _message(_END, 0, b"", resource=_SUBSYSTEM),
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
        netfilter.settimeout(10)
        netfilter.send(b"".join(batch))
        (number,) = struct.unpack_from("=i", netfilter.recv(1 << 16), 16)
    if number:
        pytest.skip(f"no such rules in this kernel: {os.strerror(-number)}")


def _message(kind: int, flags: int, attributes: bytes, *, resource: int = 0) -> bytes:
    family = 0 if resource else _NFPROTO_IPV4
    body = struct.pack("!BBH", family, 0, resource) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags | _NLM_F_REQUEST, 1, 0) + body


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
