"""The socket on which texts come down to a half: from the agent, or from `trafficd reload`.

A locked half can open no file any more, so it is handed the text of the configuration, one message
each time; the kernel keeps message boundaries (unix(7)). Nothing goes back. The agent's socket
(SOCK_SEQPACKET) tells of the agent's end as well; that of a unit (SOCK_DGRAM) is held by systemd,
and whoever may write to its file is who may send.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from trafficd.errors import ConfigError

# Each message begins with one of these. A message of no byte would look like the end.
_TEXT = b"t"
_NO_TEXT = b"n"
# Chosen: room for over a thousand rules, and less than half of what a socket may hold that nobody
# reads (net.core.wmem_max, 212,992 bytes, which the kernel doubles).
LONGEST_TEXT_BYTES = 128 << 10


def open_lifeline() -> tuple["AgentEnd", socket.socket]:
    """Return the agent's end, and the socket that a half is handed."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return AgentEnd(here), there


class AgentEnd:
    """Hands texts down, and does not wait for a half that does not read them."""

    def __init__(self, half: socket.socket) -> None:
        half.setblocking(False)
        half.shutdown(socket.SHUT_RD)
        half.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST_TEXT_BYTES)
        self._socket = half
        self._waiting = b""

    def close(self) -> None:
        """Close the socket; the half sees its end."""
        self._socket.close()

    def hand_down(self, file: Path) -> None:
        """Have ``go_on`` send what stands in *file*, or that it cannot be had."""
        self._waiting = _message(file)

    def go_on(self) -> bool:
        """Send what waits to be sent; return whether something did and has left."""
        if not self._waiting:
            return False
        try:
            self._socket.send(self._waiting)
        except BlockingIOError:
            return False
        except OSError:
            pass  # the half is gone, which its parent learns of otherwise
        self._waiting = b""
        return True

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to ``go_on`` with."""
        return bool(self._waiting)


class Lifeline:
    """A half's end; without an agent, nobody ends and no text comes."""

    def __init__(self, agent: socket.socket | None) -> None:
        if agent is not None:
            agent.setblocking(False)
        self._socket = agent
        self._newest = _NO_TEXT
        self._when_gone: Callable[[], object] = _do_nothing
        self._when_told: Callable[[], object] = _do_nothing

    def listen(self, when_gone: Callable[[], object]) -> None:
        """Call *when_gone* once the agent is gone."""
        self._when_gone = when_gone
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._take)

    def tell(self, when_told: Callable[[], object]) -> None:
        """Call *when_told* whenever a text came."""
        self._when_told = when_told

    def text(self) -> str:
        """Return the newest text that was handed down.

        Raises: ConfigError if the agent could not read it, or none was handed down.
        """
        self._take()
        if not self._newest.startswith(_TEXT):
            raise ConfigError(["configuration: cannot be read, or too long"])
        try:
            return self._newest.removeprefix(_TEXT).decode()
        except UnicodeDecodeError as error:
            raise ConfigError([f"configuration: not UTF-8 at byte {error.start}"]) from error

    def _take(self) -> None:
        while message := self._receive():
            self._newest = message
            self._when_told()

    def _receive(self) -> bytes | None:
        """Return the next message, if there is one."""
        if self._socket is None:
            return None
        try:
            message = self._socket.recv(len(_TEXT) + LONGEST_TEXT_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            message = b""
        if not message and self._socket.type == socket.SOCK_SEQPACKET:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._when_gone()
        return message


def text_message(text: str) -> bytes:
    """Return the message that brings *text*.

    Raises: ConfigError if it is too long for one.
    """
    encoded = text.encode()
    if len(encoded) > LONGEST_TEXT_BYTES:
        raise ConfigError([f"configuration: {len(encoded)} bytes, at most {LONGEST_TEXT_BYTES}"])
    return _TEXT + encoded


def _message(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            text = opened.read(LONGEST_TEXT_BYTES + 1)
    except OSError:
        return _NO_TEXT
    return _TEXT + text if len(text) <= LONGEST_TEXT_BYTES else _NO_TEXT


def _do_nothing() -> None:
    pass
