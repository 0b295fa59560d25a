"""Makes a file system with VPN servers and their clients, of Debian 12's packages.

What was made is kept in build/vpn-servers.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.system.debian_packages import ROOT, demand, install_packages, kept

CACHE = ROOT / "build" / "vpn-servers"
PACKAGES = (
    *("iproute2", "openvpn", "ocserv", "openconnect", "wireguard-go", "wireguard-tools"),
    # The last two have IPsec in the process itself, and elliptic curves.
    *("strongswan-charon", "strongswan-swanctl", "libcharon-extra-plugins"),
    "libstrongswan-standard-plugins",
)


@contextlib.contextmanager
def vpn_servers() -> Iterator[Path]:
    """Give the root of the file system, which nobody may write to; made first if need be."""
    with kept(CACHE, (Path(__file__),), _make) as folder:
        yield folder / "root"


def _make(folder: Path) -> None:
    demand(("mmdebstrap", "apt-get"), "mmdebstrap")
    install_packages(folder / "root", PACKAGES)
