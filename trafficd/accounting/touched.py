"""Which links an event touched while a dump was under way."""

_MARKS = 1 << 16


class Touched:
    """Links as marks: a set that grows and is freed would leave their numbers behind in memory.

    Two links whose numbers differ by a multiple of 65,536 share a mark. Then a dump's word on one
    of them is dropped for the other's sake, and the next dump holds its bytes.
    """

    __slots__ = ("_is_any", "_marks")

    def __init__(self) -> None:
        self._marks = bytearray(_MARKS)
        self._is_any = False

    def __bool__(self) -> bool:
        return self._is_any

    def __contains__(self, ifindex: object) -> bool:
        return isinstance(ifindex, int) and bool(self._marks[ifindex % _MARKS])

    def add(self, ifindex: int) -> None:
        """Mark *ifindex*."""
        self._marks[ifindex % _MARKS] = self._is_any = True

    def clear(self) -> None:
        """Take all marks off."""
        if self._is_any:
            self._marks[:] = bytes(_MARKS)
            self._is_any = False
