"""Listening sockets for the addresses that an operator wrote."""

import os
import socket
from collections.abc import Sequence

from trafficd.errors import TrafficdError
from trafficd.units import ListenAddress


def open_listeners(
    addresses: Sequence[ListenAddress], *, key: str, backlog: int
) -> list[socket.socket]:
    """Return a listening socket for each of *addresses*, which stand under *key*.

    Raises: TrafficdError with the address that cannot be had.
    """
    listeners: list[socket.socket] = []
    for address in addresses:
        try:
            listeners.append(_listener(address, backlog))
        except (OSError, UnicodeError) as error:
            for each in listeners:
                each.close()
            raise TrafficdError(f"{key}: {address}: {_reason(error)}") from error
    return listeners


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "no host has such a name"
    # Those of getaddrinfo(3) are negative, and are no error numbers.
    is_system = error.errno is not None and error.errno > 0
    return os.strerror(error.errno or 0) if is_system else str(error.strerror)


def _listener(address: ListenAddress, backlog: int) -> socket.socket:
    wanted = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    is_everywhere = address.host is None
    if is_everywhere and socket.has_dualstack_ipv6():
        # One IPv6 socket takes IPv4 as well.
        wanted = [each for each in wanted if each[0] is socket.AF_INET6]
    elif is_everywhere:
        wanted = [each for each in wanted if each[0] is socket.AF_INET]
    family, _, _, _, place = wanted[0]
    return socket.create_server(
        place,
        family=family,
        backlog=backlog,
        dualstack_ipv6=is_everywhere and family is socket.AF_INET6,
    )
