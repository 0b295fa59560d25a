"""A tun link: what is written to it the link has received, what is read from it it has sent.

The kernel counts a packet in the write(2) or read(2) that moves it (drivers/net/tun.c,
tun_get_user and tun_put_user), so that who holds the descriptor knows both counters exactly.
"""

import fcntl
import os
import socket
import struct

DEVICE = "/dev/net/tun"

# linux/if_tun.h, linux/sockios.h, linux/if.h
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFDSTADDR = 0x8918
_SIOCSIFNETMASK = 0x891C
_SIOCSIFMTU = 0x8922
_IFF_UP = 0x1
_IFREQ_FLAGS = struct.Struct("16sH22x")
_IFREQ_NUMBER = struct.Struct("16si20x")
_IFREQ_ADDRESS = struct.Struct("16sHH4s16x")

# Jumbo packets: as many bytes for a sixth of the system calls.
MTU_BYTES = 9000
_ONE_ADDRESS = "255.255.255.255"


class Tun:
    """One link, up, with an address here and one behind it."""

    def __init__(
        self,
        name: str,
        ioctls: socket.socket,
        *,
        here: str,
        behind: str,
        netmask: str = _ONE_ADDRESS,
    ) -> None:
        self.rx_bytes = 0
        self.tx_bytes = 0
        self._descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        link = name.encode("ascii")
        fcntl.ioctl(self._descriptor, _TUNSETIFF, _IFREQ_FLAGS.pack(link, _IFF_TUN | _IFF_NO_PI))
        fcntl.ioctl(ioctls, _SIOCSIFMTU, _IFREQ_NUMBER.pack(link, MTU_BYTES))
        for request, address in (
            (_SIOCSIFADDR, here),
            (_SIOCSIFDSTADDR, behind),
            (_SIOCSIFNETMASK, netmask),
        ):
            place = _IFREQ_ADDRESS.pack(link, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(ioctls, request, place)
        fcntl.ioctl(ioctls, _SIOCSIFFLAGS, _IFREQ_FLAGS.pack(link, _IFF_UP))

    def receive(self, packet: bytes) -> None:
        """Let the link receive *packet*."""
        self.rx_bytes += os.write(self._descriptor, packet)

    def drain(self) -> None:
        """Let the link send all that is queued on it."""
        while True:
            try:
                self.tx_bytes += len(os.read(self._descriptor, MTU_BYTES))
            except BlockingIOError:
                return

    def close(self) -> None:
        """Take the link away."""
        os.close(self._descriptor)
