"""The fuzzers of others, kept in build/fuzzers until requirements/fuzz.txt changes."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.system.debian_packages import ROOT, MachineError, kept, run

_REQUIREMENTS = ROOT / "requirements" / "fuzz.txt"
# Each interpreter has wheels of its own.
_CACHE = ROOT / "build" / "fuzzers" / (sys.implementation.cache_tag or "python")


@contextlib.contextmanager
def fuzzers() -> Iterator[Path]:
    """Give a directory to import them from; they are nowhere else.

    Raises: MachineError if they cannot be had.
    """
    with kept(_CACHE, (Path(__file__), _REQUIREMENTS), _install) as folder:
        yield folder


def _install(folder: Path) -> None:
    try:
        run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input"),
            *("--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes"),
            *("--only-binary=:all:", f"--target={folder}", f"--requirement={_REQUIREMENTS}"),
        )
    except MachineError as error:
        raise MachineError(f"requirements/fuzz.txt cannot be installed: {error}") from error
