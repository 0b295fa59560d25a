"""What the system tests make of Debian's packages and PyPI's, and where they keep it.

Everything comes through apt, from where this host's own configuration says, or mmdebstrap's, and
through pip, by the hashes in requirements/*.txt. What was made stays in build/ until what it was
made from changes. Making it needs root, for the owners of the files.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent

SUITE = "bookworm"
# Of bookworm; pip gets wheels for this one, whatever runs here.
PYTHON = "3.11"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
# For each step; all of them together took 50 s.
SECONDS = 300


class MachineError(Exception):
    """The machine cannot be made, or did not run; nothing is said about what it should run."""


@contextlib.contextmanager
def kept(folder: Path, made_from: Iterable[Path], make: Callable[[Path], None]) -> Iterator[Path]:
    """Give what *make* put into a new directory in *folder*, now or earlier.

    It stays while the caller uses it, and until a file of *made_from* changes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        place = folder / _key((Path(__file__), *made_from))
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not place.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                _make(place, make)
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield place


def _key(made_from: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in made_from:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _make(place: Path, make: Callable[[Path], None]) -> None:
    for old in place.parent.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    name = f"{place.parent.relative_to(ROOT)}"
    say(f"making {name} of Debian's packages")
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place.parent) as unfinished:
        made = Path(unfinished, "made")
        made.mkdir()
        make(made)
        made.rename(place)
    say(f"made {name} in {time.monotonic() - started_at:.0f} s")


def demand(programs: Iterable[str], packages: str) -> None:
    """Refuse to begin without *programs*, which Debian has in *packages*, or without root.

    Raises: MachineError with what is missing.
    """
    if missing := [each for each in programs if shutil.which(each) is None]:
        raise MachineError(f"missing: {', '.join(missing)}; on Debian: apt install {packages}")
    if os.geteuid() != 0:
        raise MachineError("making the machine needs root, for the owners of its files")


def install_packages(root: Path, packages: Sequence[str], *options: str) -> None:
    """Make *root* a file system of Debian's essential packages and *packages*."""
    sources = run(
        *("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"),
        *("Created-By: Packages", "Origin: Debian"),
    )
    ours = [each for each in sources.splitlines() if re.search(rf" {SUITE}(-\S+)? main$", each)]
    run(
        # Its mounts and processes end with it, however it ends.
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=essential"),
        *(f"--dpkgopt=path-exclude={each}" for each in LEFT_OUT),
        *(f"--include={','.join(packages)}", *options, SUITE, str(root), *ours),
    )


def install_python_packages(root: Path, folder: str, requirements: Path) -> None:
    """Put what *requirements* names into *folder* of *root*, without its programs."""
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile"),
        *("--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"),
        # pip takes each of these by its word, not as "or older"; bookworm has glibc 2.36.
        *(f"--platform=manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)),
        "--platform=manylinux2014_x86_64",
        f"--target={root / folder}",
        f"--requirement={requirements}",
    )
    # Their first line names the interpreter of this host.
    shutil.rmtree(root / folder / "bin", ignore_errors=True)
    run("chroot", root, "python3", "-m", "compileall", "-q", "-j", "0", f"/{folder}")


def say(what: str) -> None:
    """Tell who waits what takes so long."""
    sys.stderr.write(f"system tests: {what}\n")


def run(*command: str | Path) -> str:
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
