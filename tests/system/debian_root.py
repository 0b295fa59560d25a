"""Makes the file system that a container starts from: Debian 12 with systemd.

/opt/trafficd in it is a virtual environment with all that trafficd needs and not trafficd itself,
so that installing a tree takes a second. What was made is kept in build/debian-container, a
directory for each set of packages.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.system.debian_packages import (
    PYTHON,
    ROOT,
    demand,
    install_packages,
    install_python_packages,
    kept,
    run,
)

CACHE = ROOT / "build" / "debian-container"

PACKAGES = (
    *("dbus", "iproute2", "libseccomp2", "procps", "python3", "python3-venv", "systemd"),
    "systemd-sysv",
)
ENVIRONMENT = "opt/trafficd"


@contextlib.contextmanager
def debian_root(packages: Sequence[str] = (), *, requirements: str = "node.txt") -> Iterator[Path]:
    """Give a file system with *packages* besides; nobody may write to it.

    *requirements* is what /opt/trafficd holds: a file of the directory of that name.
    """
    pinned = ROOT / "requirements" / requirements
    name = "+".join((pinned.stem, *sorted(packages)))
    made_from = (Path(__file__), pinned)
    with kept(CACHE / name, made_from, partial(_make, packages, pinned)) as folder:
        yield folder


def _make(packages: Sequence[str], requirements: Path, root: Path) -> None:
    demand(("mmdebstrap", "apt-get"), "mmdebstrap")
    install_packages(root, (*PACKAGES, *packages))
    # A container draws its own, and nothing of this host's network is of use in it.
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("node\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    # Nobody logs in, and a getty for each terminal would wait for somebody.
    (root / "etc/systemd/system/console-getty.service").symlink_to("/dev/null")
    run("chroot", root, "python3", "-m", "venv", f"/{ENVIRONMENT}")
    folder = f"{ENVIRONMENT}/lib/python{PYTHON}/site-packages"
    install_python_packages(root, folder, requirements)
