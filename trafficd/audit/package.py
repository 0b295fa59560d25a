"""Compares the installed files with the records that were installed with them.

A record is the RECORD of a wheel: each file with its digest (PEP 376, PEP 427). Compiled files have
none there; they are compared with what their source compiles to.
"""

import base64
import hashlib
import importlib.util
import json
import marshal
import os
import re
import stat
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from types import CodeType

import trafficd
from trafficd.audit.facts import Code, Startup
from trafficd.audit.finding import Unread

_NAME = "trafficd"
_PYC_HEAD_BYTES = 16  # importlib: magic number, flags, and two words about the source
_MADE = "__pycache__"
_CUSTOM_MODULES = ("sitecustomize", "usercustomize")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def gather_code() -> Code | Unread:
    """Return the package's files against its record."""
    package = Path(trafficd.__file__).parent
    try:
        installed = distribution(_NAME)
    except PackageNotFoundError:
        return Unread("it was not installed: there is no record to compare with")
    is_editable = _is_editable(installed)
    recorded = {each: Path(str(installed.locate_file(each))) for each in installed.files or ()}
    if not is_editable and package / "__init__.py" not in recorded.values():
        return Unread("it runs from a directory that was not installed; run the installed trafficd")
    present = sorted(file for file in package.rglob("*") if not file.is_dir())
    changed = [*_changed(installed), *_compiled_otherwise(present)]
    return Code(
        version=trafficd.__version__,
        recorded_version=installed.version,
        is_editable=is_editable,
        digest=_digest(package, present),
        files=len(recorded),
        changed=tuple(_relative(file, package) for file in changed),
        missing=tuple(str(each) for each, file in recorded.items() if not file.exists()),
        extra=tuple(_extra(package, present, set(recorded.values()))),
        unwritten_by_root=tuple(_writable_by_others(package, present)),
        newest_at=max(file.stat().st_ctime for file in present if file.parent.name != _MADE),
    )


def gather_startup() -> Startup | Unread:
    """Return what else the interpreter loads: dependencies, path files and customisations."""
    try:
        needed = list(_needed(_NAME, set()))
    except PackageNotFoundError as error:
        return Unread(f"{error.name} has no record")
    changed = [
        f"{each.name}: {file.name}"
        for each in needed
        for file in each.files or ()
        # Programs of a library's own, which stand elsewhere, are not what Python loads.
        if ".." not in file.parts and _is_changed(each, file)
    ]
    # Everybody's path files are read, also those of what trafficd does not need.
    recorded = {
        Path(str(each.locate_file(file))).resolve()
        for each in Distribution.discover()
        for file in each.files or ()
        if file.suffix == ".pth" and not _is_changed(each, file)
    }
    unrecorded = [
        str(file)
        for place in _site_directories()
        for file in sorted(place.glob("*.pth"))
        if file.resolve() not in recorded
    ]
    unrecorded += _customisations()
    return Startup(
        distributions=len(needed),
        changed=tuple(changed),
        unrecorded=tuple(unrecorded),
        interpreter=str(Path(sys.executable).resolve()),
    )


def _is_editable(installed: Distribution) -> bool:
    """Tell whether the record only points to a source tree (PEP 610)."""
    try:
        told = json.loads(installed.read_text("direct_url.json") or "{}")
        return bool(told.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def _changed(installed: Distribution) -> Iterator[Path]:
    for each in installed.files or ():
        if _is_changed(installed, each):
            yield Path(str(installed.locate_file(each)))


def _is_changed(installed: Distribution, file: PackagePath) -> bool:
    if file.hash is None or file.hash.mode not in hashlib.algorithms_guaranteed:
        return file.hash is not None
    try:
        held = Path(str(installed.locate_file(file))).read_bytes()
    except OSError:
        return True
    found = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, held).digest())
    return found.rstrip(b"=") != file.hash.value.encode()


def _compiled_otherwise(present: list[Path]) -> Iterator[Path]:
    """Yield the compiled files that are no compilation of their sources by this Python."""
    for file in present:
        if file.parent.name != _MADE or f".{sys.implementation.cache_tag}." not in file.name:
            continue
        try:
            source = Path(importlib.util.source_from_cache(str(file)))
            level = int((re.findall(r"\.opt-(\d)\.", file.name) or ["0"])[0])
            if not _is_compilation(file.read_bytes(), source, level):
                yield file
        except (OSError, ValueError, EOFError, TypeError, SyntaxError):
            yield file


def _is_compilation(compiled: bytes, source: Path, level: int) -> bool:
    held = marshal.loads(compiled[_PYC_HEAD_BYTES:])  # noqa: S302  # compared, never run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = compile(source.read_bytes(), str(source), "exec", dont_inherit=True, optimize=level)
    return isinstance(held, CodeType) and held == made


def _digest(package: Path, present: list[Path]) -> str:
    """Return one digest of all sources, to compare hosts by: names and contents, in order."""
    found = hashlib.sha256()
    for file in present:
        if file.parent.name != _MADE:
            held = hashlib.sha256(file.read_bytes()).hexdigest()
            found.update(f"{held}  {file.relative_to(package)}\n".encode())
    return found.hexdigest()


def _extra(package: Path, present: list[Path], recorded: set[Path]) -> Iterator[str]:
    for file in present:
        if file in recorded:
            continue
        if file.parent.name == _MADE and file.suffix == ".pyc":
            # Python wrote it, or somebody under the name of what Python would write.
            source = file.parent.parent / f"{file.name.partition('.')[0]}.py"
            if source in recorded:
                continue
        yield _relative(file, package)


def _writable_by_others(package: Path, present: list[Path]) -> Iterator[str]:
    directories = {each.parent for each in present}
    for path in sorted({*present, *directories, *package.parents}):
        found = path.stat()
        # In a directory like /tmp nobody can replace what is another's (S_ISVTX, inode(7)).
        is_open = found.st_mode & _WRITABLE_BY_OTHERS and not found.st_mode & stat.S_ISVTX
        if found.st_uid != 0 or is_open:
            yield _relative(path, package)


def _relative(path: Path, package: Path) -> str:
    return (
        str(path.relative_to(package.parent)) if path.is_relative_to(package.parent) else str(path)
    )


def _needed(name: str, seen: set[str]) -> Iterator[Distribution]:
    """Yield what *name* needs, and what that needs; without what only an option would need."""
    for requirement in distribution(name).requires or ():
        found = re.match(r"[A-Za-z0-9._-]+", requirement)
        if found is None or "extra ==" in requirement:
            continue
        key = re.sub(r"[-_.]+", "-", found[0]).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            installed = distribution(key)
        except PackageNotFoundError:
            if ";" in requirement:
                continue  # for another Python or system
            raise
        yield installed
        yield from _needed(key, seen)


def _site_directories() -> list[Path]:
    return sorted({Path(place) for place in sys.path if Path(place).name.endswith("-packages")})


def _customisations() -> Iterator[str]:
    """Yield the modules that Python's `site` runs at each start, where they do anything.

    One beside the standard library is the distribution's, as that is: Debian 12 has one for apport.
    """
    standard = {Path(sysconfig.get_path(each)) for each in ("stdlib", "platstdlib")}
    for place in (Path(each or os.curdir) for each in sys.path):
        for name in _CUSTOM_MODULES:
            file = place / f"{name}.py"
            if place in standard:
                continue
            try:
                made = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
            except OSError:
                continue
            except (ValueError, SyntaxError):
                yield str(file)
                continue
            if made != compile("", str(file), "exec", dont_inherit=True):
                yield str(file)
