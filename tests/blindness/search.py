"""Looks for what must not have left in what did, in every way it may be written."""

import base64
import ipaddress
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

# Shorter ones are found by chance in files that are none of ours.
SHORTEST_IN_FOREIGN_FILES = 7
_GZIP = b"\x1f\x8b"
_DIGITS = re.compile(rb"\d+")


@dataclass(frozen=True, slots=True)
class Canary:
    """Something that must not leave, and each way to write it.

    Words are looked for in either case; numbers stand alone, not within longer ones.
    """

    what: str
    exact: dict[str, bytes]
    words: dict[str, bytes]
    numbers: dict[str, bytes]


def text(what: str, value: str) -> Canary:
    """Return a canary that is a word of at least eight letters."""
    plain = value.encode()
    exact = {
        **_base64_forms(plain),
        "UTF-16, little-endian": value.encode("utf-16-le"),
        "UTF-16, big-endian": value.encode("utf-16-be"),
        "backwards": plain[::-1],
    }
    return Canary(what, exact, {"text": plain, "hex": plain.hex().encode()}, {})


def ipv4(what: str, value: str) -> Canary:
    """Return a canary that is an IPv4 address."""
    packed = ipaddress.IPv4Address(value).packed
    made = integer(what, int.from_bytes(packed, "big"), size=4)
    words = {
        "text": value.encode(),
        "hex": packed.hex().encode(),
        "hex backwards": packed[::-1].hex().encode(),
    }
    backwards = {"decimal, little-endian": str(int.from_bytes(packed, "little")).encode()}
    exact = {**made.exact, **_base64_forms(value.encode())}
    return Canary(what, exact, words, {**made.numbers, **backwards})


def ipv6(what: str, value: str) -> Canary:
    """Return a canary that is an IPv6 address."""
    address = ipaddress.IPv6Address(value)
    exact = {
        "bytes": address.packed,
        "bytes, little-endian": address.packed[::-1],
        **_base64_forms(address.packed),
        **{f"text in {name}": form for name, form in _base64_forms(value.encode()).items()},
    }
    words = {
        "text": address.compressed.encode(),
        "long text": address.exploded.encode(),
        "hex": address.packed.hex().encode(),
    }
    return Canary(what, exact, words, {"decimal": str(int(address)).encode()})


def mac(what: str, value: str) -> Canary:
    """Return a canary that is a MAC, written with colons."""
    packed = bytes.fromhex(value.replace(":", ""))
    digits = packed.hex()
    words = {
        "with colons": value.encode(),
        "with hyphens": value.replace(":", "-").encode(),
        "with dots": ".".join(digits[at : at + 4] for at in (0, 4, 8)).encode(),
        "without separators": digits.encode(),
        "without separators, backwards": packed[::-1].hex().encode(),
        "as an IPv6 interface identifier": _interface_identifier(packed),
    }
    exact = {
        "bytes": packed,
        "bytes, little-endian": packed[::-1],
        **_base64_forms(packed),
        **{f"text in {name}": form for name, form in _base64_forms(value.encode()).items()},
    }
    numbers = {
        "decimal": str(int.from_bytes(packed, "big")).encode(),
        "decimal, little-endian": str(int.from_bytes(packed, "little")).encode(),
    }
    return Canary(what, exact, words, numbers)


def integer(what: str, value: int, *, size: int = 8) -> Canary:
    """Return a canary that is a number of at least six digits: an ifindex, a count of bytes."""
    small = {
        f"{size} bytes, {order}-endian": value.to_bytes(size, order) for order in ("big", "little")
    }
    # Four bytes of a larger number as well: whoever packs it may have cut it.
    least = max(4, (value.bit_length() + 7) // 8)
    short = {
        f"{least} bytes, {order}-endian": value.to_bytes(least, order)
        for order in ("big", "little")
    }
    floats = {
        "float, big-endian": struct.pack(">d", value),
        "float, little-endian": struct.pack("<d", value),
    }
    mantissa = f"{value:.15e}".partition("e")[0].rstrip("0")
    decimals = {
        "decimal": str(value).encode(),
        "after the point": mantissa.partition(".")[2].encode(),
    }
    words = {"hex": f"{value:x}".encode()} if value > 0xFFFFF else {}
    return Canary(what, {**small, **short, **floats}, words, decimals)


def _interface_identifier(packed: bytes) -> bytes:
    """Return what an address made of the MAC ends with (RFC 4291, appendix A)."""
    eight = bytes((packed[0] ^ 2,)) + packed[1:3] + b"\xff\xfe" + packed[3:]
    return eight.hex(":", 2).encode()


def _base64_forms(data: bytes) -> dict[str, bytes]:
    """Return what *data* looks like in base64 wherever it stands in what was encoded."""
    forms = {}
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        # The characters that its neighbours decide as well are left out.
        first, last = (before * 8 + 5) // 6, (before + len(data)) * 8 // 6
        forms[f"base64 after {before} bytes"] = encoded[first:last]
    return forms


def unpacked(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return *documents*, and what is in those that are compressed."""
    found = dict(documents)
    for name, document in documents.items():
        start = document.find(_GZIP)
        if start >= 0:
            try:
                # Whatever stands behind it.
                packed = zlib.decompressobj(wbits=31)
                found[f"{name}, unpacked"] = packed.decompress(document[start:])
            except zlib.error:
                continue  # two bytes that look like it
    return found


def found(
    documents: Mapping[str, bytes], canaries: Iterable[Canary], *, shortest: int = 1
) -> list[str]:
    """Return which canary stands in which of *documents*, and how.

    Forms of fewer than *shortest* bytes are not looked for.
    """
    canaries = list(canaries)
    told = []
    for name, document in unpacked(documents).items():
        lower, numbers = document.lower(), set(_DIGITS.findall(document))
        for canary in canaries:
            told += [
                f"{canary.what} as {form} in {name}"
                for form in _forms_in(canary, document, lower, numbers, shortest)
            ]
    return told


def _forms_in(
    canary: Canary, document: bytes, lower: bytes, numbers: set[bytes], shortest: int
) -> Iterator[str]:
    for form, value in canary.exact.items():
        if len(value) >= shortest and value in document:
            yield form
    for form, value in canary.words.items():
        if len(value) >= shortest and value.lower() in lower:
            yield form
    for form, value in canary.numbers.items():
        if len(value) >= shortest and value in numbers:
            yield form
