"""Packets that a kernel routes."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from trafficd.demo.packets import HEADER_BYTES, udp_packet

_ADDRESS = st.ip_addresses(v=4).map(str)


@given(source=_ADDRESS, target=_ADDRESS, size=st.integers(HEADER_BYTES, 9000))
def test_the_header_checksum_is_that_of_rfc_1071(source: str, target: str, size: int) -> None:
    packet = udp_packet(source, target, port=4500, size=size)

    total = sum(struct.unpack("!10H", packet[:20]))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert len(packet) == size
    assert struct.unpack("!H", packet[2:4]) == (size,)
    assert struct.unpack("!H", packet[24:26]) == (size - 20,)
