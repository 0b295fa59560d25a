"""Values as an operator writes them in a file: durations, bit rates, words, addresses."""

import re
from typing import Self

from trafficd.schema import NODE_NAME, WORD

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_BITS = 10**15
_BITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Duration(int):
    """A length of time in whole seconds, written ``90s``, ``5m``, ``1h`` or ``1d``."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* in seconds.

        Raises: ValueError if it is not a whole number with a unit.
        """
        match = re.fullmatch(r"(\d{1,9})([smhd])", value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("write a whole number and s, m, h or d, like 1h")
        return cls(int(match[1]) * _SECONDS[match[2]])

    @property
    def written(self) -> str:
        """The duration as an operator would write it, in the largest unit that fits."""
        seconds, unit = max((s, unit) for unit, s in _SECONDS.items() if not self % s)
        return f"{self // seconds}{unit}"


class BitRate(int):
    """A capacity in bits per second, written ``10Gbit``, ``2.5Gbit`` or ``100Mbit``."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* in bits per second.

        Raises: ValueError if it is not a number with a unit, or not above zero.
        """
        pattern = r"(\d{1,9})(?:\.(\d{1,3}))?([kMGT]?)bit"
        match = re.fullmatch(pattern, value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("write a number and bit, kbit, Mbit, Gbit or Tbit, like 10Gbit")
        thousandths = int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0"))
        bits = thousandths * _BITS[match[3]] // 1000
        if bits == 0:
            raise ValueError("must be above zero; leave the key out where it is unknown")
        if bits > _MOST_BITS:
            raise ValueError("at most 1000Tbit")
        return cls(bits)


class Share(float):
    """A part of a whole, written ``80%``."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* as a part of one.

        Raises: ValueError if it is not a percentage above 0, of at most three digits.
        """
        match = re.fullmatch(r"(\d{1,3})(?:\.(\d))? ?%", value) if isinstance(value, str) else None
        tenths = int(match[1]) * 10 + int(match[2] or 0) if match else 0
        if not tenths:
            raise ValueError("write a percentage above 0%, like 80%")
        return cls(tenths / 1000)

    @property
    def written(self) -> str:
        """The part as an operator would write it."""
        return f"{100 * self:g}%"


class Word(str):
    """A class or location: short and lower-case, so that no address and no person fits in."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* itself.

        Raises: ValueError if it is not such a word.
        """
        if not isinstance(value, str) or not WORD.fullmatch(value):
            raise ValueError(
                "write a lower-case word: a letter, then letters, digits, - or _, to 32"
            )
        return cls(value)


class NodeName(str):
    """The name of a node, as a host name is written."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* itself.

        Raises: ValueError if it is not such a name.
        """
        if not isinstance(value, str) or not NODE_NAME.fullmatch(value):
            raise ValueError(
                "write a name of lower-case letters, digits, - and ., to 63, like fra-17"
            )
        return cls(value)


class ListenAddress(str):
    """Where a server listens, written ``127.0.0.1:9787``, ``[::1]:9787`` or ``:9787``."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* itself.

        Raises: ValueError if it has no host and port.
        """
        pattern = r"(\[[0-9a-fA-F:.%\w]+\]|[^\s:\[\]]*):(\d{1,5})"
        match = re.fullmatch(pattern, value) if isinstance(value, str) else None
        if match is None or int(match[2]) > 65535:
            raise ValueError("write host:port, like 127.0.0.1:9787, [::1]:9787 or :9787")
        return cls(value)

    @property
    def host(self) -> str | None:
        """The address to listen on; None is every address of the machine."""
        return self.rpartition(":")[0].strip("[]") or None

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.rpartition(":")[2])
