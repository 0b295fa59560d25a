"""The search for canaries finds each in each encoding, and nothing where there is nothing."""

import base64
import gzip
import struct

import pytest

from tests.blindness import search

NAME, ADDRESS, ADDRESS6 = "pppCANARYx7q3", "198.51.100.173", "2001:db8:ca4a:77::beef"
MAC, COUNT, IFINDEX = "02:ca:4a:7e:0b:b1", 73_519_877, 734_519
CANARIES = (
    search.text("name", NAME),
    search.ipv4("address", ADDRESS),
    search.ipv6("IPv6 address", ADDRESS6),
    search.mac("MAC", MAC),
    search.integer("count", COUNT),
    search.integer("ifindex", IFINDEX, size=4),
)

# Written out by hand, or by another way than the search's own.
WRITTEN = {
    "plain": b"link pppCANARYx7q3 is up",
    "upper case": b"LINK PPPCANARYX7Q3",
    "lower case": b"pppcanaryx7q3",
    "within a word": b"class=lpppCANARYx7q3x",
    "hex": b"70707043414e41525978377133",
    "upper-case hex": b"70707043414E41525978377133",
    "UTF-16": NAME.encode("utf-16"),
    "UTF-16, big-endian": b"\0p\0p\0p\0C\0A\0N\0A\0R\0Y\0x\0007\0q\0003",
    "base64": base64.b64encode(b"pppCANARYx7q3"),
    "base64 one further": base64.b64encode(b"/pppCANARYx7q3/"),
    "base64 two further": base64.b64encode(b"a=pppCANARYx7q3;"),
    "base64 three further": base64.b64encode(b"if=pppCANARYx7q3;"),
    "packed": b"HTTP/1.1 200 OK\r\n\r\n" + gzip.compress(b"pppCANARYx7q3"),
    "IPv4": b"from 198.51.100.173:443",
    "IPv4 bytes": bytes((198, 51, 100, 173)),
    "IPv4 bytes backwards": bytes((173, 100, 51, 198)),
    "IPv4 hex": b"c63364ad",
    "IPv4 in /proc/net/tcp": b"AD6433C6:01BB",
    "IPv4 as a number": b"3325256877",
    "IPv4 as a little-endian number": b"2909025222",
    "IPv4 text in base64": base64.b64encode(b"ip=198.51.100.173"),
    "IPv6": b"2001:db8:ca4a:77::beef",
    "IPv6, long": b"2001:0db8:ca4a:0077:0000:0000:0000:beef",
    "IPv6, upper case": b"2001:DB8:CA4A:77::BEEF",
    "IPv6 in /proc/net/if_inet6": b"20010db8ca4a0077000000000000beef",
    "IPv6 bytes": bytes.fromhex("20010db8ca4a0077000000000000beef"),
    "IPv6 bytes in base64": base64.b64encode(
        b"x" + bytes.fromhex("20010db8ca4a0077000000000000beef")
    ),
    "MAC": b"02:ca:4a:7e:0b:b1",
    "MAC, upper case": b"02:CA:4A:7E:0B:B1",
    "MAC with hyphens": b"02-CA-4A-7E-0B-B1",
    "MAC with dots": b"02ca.4a7e.0bb1",
    "MAC without separators": b"02CA4A7E0BB1",
    "MAC bytes": bytes.fromhex("02ca4a7e0bb1"),
    "MAC bytes backwards": bytes.fromhex("b10b7e4aca02"),
    "MAC in base64": base64.b64encode(bytes.fromhex("ff02ca4a7e0bb1ff")),
    "MAC in an address": b"fe80::ca:4aff:fe7e:bb1, fe80::00ca:4aff:fe7e:0bb1",
    "count": b"rx_bytes 73519877\n",
    "count as a float": b"x_total 7.3519877e+07\n",
    "count with a fraction": b"73519877.0",
    "count in hex": b"0x461d305",
    "count, four bytes": struct.pack("!I", COUNT),
    "count, four bytes backwards": struct.pack("<I", COUNT),
    "count, eight bytes": struct.pack("!Q", COUNT),
    "count, eight bytes backwards": struct.pack("<Q", COUNT),
    "count, a binary float": struct.pack("<d", COUNT),
    "ifindex": b"ifindex=734519,",
    "ifindex, four bytes": struct.pack("!I", IFINDEX),
    "ifindex, four bytes backwards": struct.pack("<I", IFINDEX),
}  # fmt: skip


@pytest.mark.parametrize("how", WRITTEN)
def test_a_canary_is_found_however_it_is_written(how: str) -> None:
    document = b"before " + WRITTEN[how] + b" behind"

    assert search.found({"document": document}, CANARIES)


def test_each_canary_is_found_in_a_document_that_holds_them_all() -> None:
    documents = {"everything": b"\n".join(WRITTEN.values())}

    told = search.found(documents, CANARIES)

    assert {each.partition(" as ")[0] for each in told} == {each.what for each in CANARIES}


@pytest.mark.parametrize(
    "harmless",
    [
        b"",
        b"trafficd_tunnel_receive_bytes_total 7.340032e+07\n",
        b"ppp CANARY 198.51.100.17 2001:db8:ca4a:77::bee 02:ca:4a:7e:0b:b0",
        b"17345190 1734519 7345190 373519877",
        struct.pack("!Q", COUNT + 1) + struct.pack("<I", IFINDEX - 1),
        base64.b64encode(b"pppCANAR pppCANARYx7z3"),
    ],
)
def test_nothing_is_found_where_nothing_is(harmless: bytes) -> None:
    assert search.found({"document": harmless}, CANARIES) == []


def test_short_forms_are_left_out_where_chance_would_write_them() -> None:
    documents = {"document": struct.pack("!I", IFINDEX)}

    assert search.found(documents, CANARIES, shortest=search.SHORTEST_IN_FOREIGN_FILES) == []
