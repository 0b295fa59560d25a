"""Makes a machine of Debian 12's own packages: kernel, initrd and root file system.

What was made is kept in build/debian-kernel.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.system.debian_packages import (
    HERE,
    PYTHON,
    ROOT,
    demand,
    install_packages,
    install_python_packages,
    kept,
    run,
    say,
)

CACHE = ROOT / "build" / "debian-kernel"

# The cloud kernel is smaller, and has neither PPP nor L2TP.
KERNEL_PACKAGE = "linux-image-amd64"
PACKAGES = (
    *("busybox-static", "curl", "iperf3", "iproute2", "kmod", "libseccomp2", "mount", "python3"),
    # VPN servers of which a part is in the kernel.
    *("libstrongswan-standard-plugins", "ppp", "strongswan-charon", "strongswan-swanctl"),
    "wireguard-tools",
    # Process 1 where a test asks for it.
    "systemd",
)
# Of some 4,000 modules: links of every type but those with hardware, and what they need.
MODULES = (
    *("arch", "crypto", "lib", "net", "drivers/char/hw_random", "drivers/crypto", "drivers/virtio"),
    *("drivers/net/*.ko", "drivers/net/bonding", "drivers/net/ipvlan", "drivers/net/ppp"),
    *("drivers/net/slip", "drivers/net/team", "drivers/net/vxlan", "drivers/net/wireguard"),
    *("drivers/block/loop.ko", "drivers/block/virtio_blk.ko", "drivers/char/virtio_console.ko"),
    *("fs/ext4", "fs/jbd2", "fs/mbcache.ko", "fs/overlayfs"),
)
# crc32c is what ext4 asks the kernel's crypto for by name, which no module dependency says.
MODULES_OF_INITRD = (
    *("virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "crc32c_generic", "ext4"),
)
# The package behind KERNEL_PACKAGE, from the indices that mmdebstrap made for the suite.
DOWNLOAD_KERNEL = f"""
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
cd "$1/boot"
package="$(apt-cache depends {KERNEL_PACKAGE} | sed -n 's/.*Depends: //p')"
apt-get -q -o APT::Sandbox::User=root download "$package"
"""
TRAFFICD = """#!/usr/bin/python3
import sys
from trafficd.cli import main
sys.exit(main())
"""
# Sparse; what a run writes goes to a snapshot that nobody keeps.
ROOT_BYTES = 2 << 30
_REQUIREMENTS = ROOT / "requirements" / "dev.txt"


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU needs to start the guest."""

    kernel: Path
    initrd: Path
    root: Path


@contextlib.contextmanager
def debian_machine() -> Iterator[Machine]:
    """Give the machine, made first if it is not there; it stays while the caller uses it."""
    made_from = (Path(__file__), HERE / "initrd.sh", _REQUIREMENTS)
    with kept(CACHE, made_from, _make) as folder:
        yield Machine(folder / "vmlinuz", folder / "initrd", folder / "root.ext4")


def _make(folder: Path) -> None:
    demand(
        ("mmdebstrap", "mke2fs", "dpkg-deb", "apt-get", "qemu-system-x86_64"),
        "mmdebstrap e2fsprogs qemu-system-x86",
    )
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        root = Path(place, "root")
        install_packages(root, PACKAGES, f"--customize-hook={DOWNLOAD_KERNEL}")
        _install_trafficd(root)
        version = _unpack_kernel(root)
        shutil.move(root / "boot" / f"vmlinuz-{version}", folder / "vmlinuz")
        _write_initrd(folder / "initrd", root, version)
        run("mke2fs", "-q", "-t", "ext4", "-d", root, folder / "root.ext4", f"{ROOT_BYTES >> 10}k")
    say(f"that is Linux {version}")


def _install_trafficd(root: Path) -> None:
    """Install what trafficd and its tests need; itself comes with a run."""
    folder = f"usr/local/lib/python{PYTHON}/dist-packages"
    install_python_packages(root, folder, _REQUIREMENTS)
    (root / folder / "trafficd.pth").write_text("/srv/trafficd\n")
    program = root / "usr/local/bin/trafficd"
    program.write_text(TRAFFICD)
    program.chmod(0o755)


def _unpack_kernel(root: Path) -> str:
    (package,) = (root / "boot").glob("linux-image-*.deb")
    tree = root.parent / "kernel"
    run("dpkg-deb", "--extract", package, tree)
    (modules,) = (tree / "lib" / "modules").iterdir()
    for pattern in MODULES:
        for found in (modules / "kernel").glob(pattern):
            place = root / "lib/modules" / modules.name / found.relative_to(modules)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(found, place)
    # Which parts are in the kernel itself, for depmod.
    for listed in modules.glob("modules.*"):
        shutil.move(listed, root / "lib/modules" / modules.name)
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    shutil.move(kernel, root / "boot")
    shutil.rmtree(tree)
    package.unlink()
    run("chroot", root, "depmod", modules.name)
    return modules.name


def _write_initrd(initrd: Path, root: Path, version: str) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent) as place:
        tree = Path(place)
        for each in ("bin", "dev", "modules", "proc", "sys", "sysroot"):
            (tree / each).mkdir()
        shutil.copy(root / "bin" / "busybox", tree / "bin")
        shutil.copy(HERE / "initrd.sh", tree / "init")
        (tree / "init").chmod(0o755)
        files = _in_order(root / "lib/modules" / version)
        for file in files:
            shutil.copy(file, tree / "modules")
        (tree / "modules" / "order").write_text("".join(f"{each.name}\n" for each in files))
        archived = 'cd "$1" && find . | "$2" cpio -o -H newc >"$3"'
        run("sh", "-c", archived, "sh", tree, root / "bin" / "busybox", initrd)


def _in_order(modules: Path) -> list[Path]:
    """Return the modules of the initrd and what they need, each behind what it needs itself."""
    needs: dict[str, list[str]] = {}
    # modules.dep(5): a file, and what it needs, the last of which is to be loaded first
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, needed = line.partition(":")
        needs[file] = needed.split()[::-1]
    by_name = {Path(file).stem.replace("-", "_"): file for file in needs}
    ordered: dict[str, None] = {}
    for name in MODULES_OF_INITRD:
        file = by_name[name]
        ordered |= dict.fromkeys([*needs[file], file])
    return [modules / file for file in ordered]
