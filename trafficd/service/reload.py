"""Hands the configuration's text to halves that systemd runs, over the sockets of their units."""

import socket
from pathlib import Path

from trafficd.errors import TrafficdError
from trafficd.service.lifeline import text_message

_WAIT_SECONDS = 5.0


def send_text(text: str, to: Path) -> None:
    """Send *text* to the datagram socket at *to*.

    Raises: TrafficdError if nobody holds the socket, or nobody reads it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_WAIT_SECONDS)
        try:
            sender.connect(str(to))
            sender.send(text_message(text))
        except TimeoutError as error:
            raise TrafficdError(f"{to}: nobody reads the texts that wait there") from error
        except OSError as error:
            raise TrafficdError(f"{to}: {error.strerror}; is the socket unit running?") from error
