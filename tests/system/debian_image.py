"""Makes a machine of Debian 12's own packages: kernel, initrd and root file system.

Everything comes through apt, from where this host's own configuration says, or mmdebstrap's, and
through pip, by the hashes in requirements/dev.txt. What was made is kept in build/debian-kernel
until what it was made from changes. Making it needs root, for the owners of the files.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
CACHE = ROOT / "build" / "debian-kernel"

SUITE = "bookworm"
# Of bookworm; pip gets wheels for this one, whatever runs here.
PYTHON = "3.11"
# The cloud kernel is smaller, and has neither PPP nor L2TP.
KERNEL_PACKAGE = "linux-image-amd64"
PACKAGES = (
    *("busybox-static", "curl", "iperf3", "iproute2", "kmod", "libseccomp2", "mount", "python3"),
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
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
TRAFFICD = """#!/usr/bin/python3
import sys
from trafficd.cli import main
sys.exit(main())
"""
# Sparse; what a run writes goes to a snapshot that nobody keeps.
ROOT_BYTES = 2 << 30
# For each step; all of them together took 50 s.
SECONDS = 300


class MachineError(Exception):
    """The machine cannot be made, or did not run; nothing is said about what it should run."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU needs to start the guest."""

    kernel: Path
    initrd: Path
    root: Path


@contextlib.contextmanager
def debian_machine() -> Iterator[Machine]:
    """Give the machine, made first if it is not there; it stays while the caller uses it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as lock:
        folder = CACHE / _key()
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not folder.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _make(folder)
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield Machine(folder / "vmlinuz", folder / "initrd", folder / "root.ext4")


def _key() -> str:
    """Return a name for what the machine is made from."""
    made_from = hashlib.sha256()
    for file in (Path(__file__), HERE / "initrd.sh", ROOT / "requirements" / "dev.txt"):
        made_from.update(file.read_bytes())
    return made_from.hexdigest()[:16]


def _make(folder: Path) -> None:
    _demand_what_it_takes()
    for old in CACHE.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    _say("making a machine of Debian's packages")
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        made, root = Path(place, "made"), Path(place, "root")
        made.mkdir()
        _install_packages(root)
        _install_python_packages(root)
        version = _unpack_kernel(root)
        shutil.move(root / "boot" / f"vmlinuz-{version}", made / "vmlinuz")
        _write_initrd(made / "initrd", root, version)
        _run("mke2fs", "-q", "-t", "ext4", "-d", root, made / "root.ext4", f"{ROOT_BYTES >> 10}k")
        made.rename(folder)
    _say(f"made Linux {version} in {time.monotonic() - started_at:.0f} s")


def _demand_what_it_takes() -> None:
    programs = ("mmdebstrap", "mke2fs", "dpkg-deb", "apt-get", "qemu-system-x86_64")
    if missing := [each for each in programs if shutil.which(each) is None]:
        raise MachineError(
            f"missing: {', '.join(missing)}; on Debian: apt install mmdebstrap e2fsprogs"
            " qemu-system-x86"
        )
    if os.geteuid() != 0:
        raise MachineError("making the machine needs root, for the owners of its files")


def _install_packages(root: Path) -> None:
    sources = _run(
        *("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"),
        *("Created-By: Packages", "Origin: Debian"),
    )
    ours = [each for each in sources.splitlines() if re.search(rf" {SUITE}(-\S+)? main$", each)]
    _run(
        # Its mounts and processes end with it, however it ends.
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=essential"),
        *(f"--dpkgopt=path-exclude={each}" for each in LEFT_OUT),
        *(f"--include={','.join(PACKAGES)}", f"--customize-hook={DOWNLOAD_KERNEL}"),
        SUITE,
        root,
        *ours,
    )


def _install_python_packages(root: Path) -> None:
    folder = f"usr/local/lib/python{PYTHON}/dist-packages"
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile"),
        *("--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"),
        # pip takes each of these by its word, not as "or older"; bookworm has glibc 2.36.
        *(f"--platform=manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)),
        "--platform=manylinux2014_x86_64",
        f"--target={root / folder}",
        f"--requirement={ROOT / 'requirements' / 'dev.txt'}",
    )
    # Their first line names the interpreter of this host.
    shutil.rmtree(root / folder / "bin")
    (root / folder / "trafficd.pth").write_text("/srv/trafficd\n")
    program = root / "usr/local/bin/trafficd"
    program.write_text(TRAFFICD)
    program.chmod(0o755)
    _run("chroot", root, "python3", "-m", "compileall", "-q", "-j", "0", f"/{folder}")


def _unpack_kernel(root: Path) -> str:
    (package,) = (root / "boot").glob("linux-image-*.deb")
    tree = root.parent / "kernel"
    _run("dpkg-deb", "--extract", package, tree)
    (modules,) = (tree / "lib" / "modules").iterdir()
    for pattern in MODULES:
        for found in (modules / "kernel").glob(pattern):
            kept = root / "lib/modules" / modules.name / found.relative_to(modules)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(found, kept)
    # Which parts are in the kernel itself, for depmod.
    for listed in modules.glob("modules.*"):
        shutil.move(listed, root / "lib/modules" / modules.name)
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    shutil.move(kernel, root / "boot")
    shutil.rmtree(tree)
    package.unlink()
    _run("chroot", root, "depmod", modules.name)
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
        _run("sh", "-c", archived, "sh", tree, root / "bin" / "busybox", initrd)


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


def _say(what: str) -> None:
    sys.stderr.write(f"system tests: {what}\n")


def _run(*command: str | Path) -> str:
    """Run *command* and return what it printed.

    Raises: MachineError with what it said, if it fails or takes too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{command[0]} took longer than {SECONDS} s") from error
    if done.returncode:
        raise MachineError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
