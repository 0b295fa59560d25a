"""Builds this tree as it is now, beside it and not in it."""

import hashlib
import shutil
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from tests.system.debian_packages import ROOT, run

_BUILT_FROM = ("LICENSE", "README.md", "pyproject.toml", "trafficd")


def built_wheel() -> tuple[str, bytes]:
    """Return the name and the content of this tree's wheel."""
    digest = hashlib.sha256()
    for file in sorted(each for name in _BUILT_FROM for each in _files(ROOT / name)):
        digest.update(f"{file} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return _built(digest.hexdigest())


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*.py"))


@lru_cache(maxsize=1)
def _built(_digest: str) -> tuple[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place, "tree")
        tree.mkdir()
        for name in _BUILT_FROM:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, tree / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, tree)
        run(
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"),
            *("--disable-pip-version-check", "--no-build-isolation"),
            *(f"--wheel-dir={place}", tree),
        )
        (wheel,) = Path(place).glob("*.whl")
        return wheel.name, wheel.read_bytes()
