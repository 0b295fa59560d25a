"""IPv4 packets as bytes: UDP, with nothing in them."""

import socket
import struct

_IPV4 = struct.Struct("!BBHHHBBH4s4s")  # RFC 791, section 3.1
_UDP = struct.Struct("!HHHH")  # RFC 768
HEADER_BYTES = _IPV4.size + _UDP.size

# What a tunnel's outer packet adds to the inner one: two headers and the cipher's share.
OVERHEAD_BYTES = 60

_VERSION_AND_WORDS = 0x45
_HOPS = 64


def udp_packet(source: str, target: str, *, port: int, size: int) -> bytes:
    """Return a packet of *size* bytes from *port* of *source* to *port* of *target*."""
    header = _ipv4_header(source, target, size, checksum=0)
    words = sum(struct.unpack("!10H", header))
    # RFC 1071: the carries are added back in, and there are at most two rounds of them.
    words = (words & 0xFFFF) + (words >> 16)
    words = (words & 0xFFFF) + (words >> 16)
    # A UDP checksum of 0 says that there is none.
    udp = _UDP.pack(port, port, size - _IPV4.size, 0)
    return (_ipv4_header(source, target, size, checksum=~words & 0xFFFF) + udp).ljust(size, b"\0")


def _ipv4_header(source: str, target: str, size: int, *, checksum: int) -> bytes:
    return _IPV4.pack(
        _VERSION_AND_WORDS,
        0,
        size,
        0,
        0,
        _HOPS,
        socket.IPPROTO_UDP,
        checksum,
        socket.inet_aton(source),
        socket.inet_aton(target),
    )
