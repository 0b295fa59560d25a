"""Builds the Debian packages of this tree, as `make deb` does for everybody."""

import atexit
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import trafficd
from tests.system.container import Container
from tests.system.debian_packages import ROOT

NODE, COLLECTOR = "trafficd", "trafficd-collector"
NEXT = f"{trafficd.__version__}.post1"
_NOT_BUILT_FROM = shutil.ignore_patterns(".*", "build", "dist", "tests", "__pycache__", "*.deb")
# For what tests change in the units, which packages do not bring and do not take away.
_OF_THIS_MACHINE = "/run/systemd/system/trafficd-{}.service.d/of-this-host.conf"
# LimitMEMLOCK= is not in force inside where this host may not lift its own limit, and without it
# a half asks whether the host has swap, which ProcSubset=pid hides.
_WITHOUT_LOCKED_MEMORY = "[Service]\nProcSubset=all\n"


@dataclass(frozen=True, slots=True)
class Package:
    """A file, by the name that it was made with."""

    version: str
    file_name: str
    content: bytes


def packages_of_this_tree(version: str = trafficd.__version__) -> Mapping[str, Package]:
    """Return both packages by their names; they are made once in a run of tests."""
    return _packages(version)


@lru_cache(maxsize=2)
def _packages(version: str) -> Mapping[str, Package]:
    return built(ROOT, copy_of_this_tree(version), version)


@lru_cache(maxsize=2)
def copy_of_this_tree(version: str) -> Path:
    """Return where the tree is that the packages were made from; it stays as long as the tests."""
    place = tempfile.mkdtemp(prefix="trafficd-")
    atexit.register(shutil.rmtree, place)
    return Path(place, "tree")


def built(source: Path, tree: Path, version: str) -> dict[str, Package]:
    """Make the packages of *source* under another *version*, from a copy of it at *tree*."""
    shutil.copytree(source, tree, ignore=_NOT_BUILT_FROM)
    module = tree / "trafficd" / "__init__.py"
    module.write_text(module.read_text().replace(trafficd.__version__, version))
    done = subprocess.run(
        ["make", "--no-print-directory", "deb"],
        cwd=tree,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1790000000"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = {each.name.partition("_")[0]: each for each in tree.glob("*.deb")}
    assert made.keys() == {NODE, COLLECTOR}
    return {name: Package(version, file.name, file.read_bytes()) for name, file in made.items()}


def fit_to_this_host(machine: Container) -> None:
    """Let a node that will be installed run on a host without the right to lock memory."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] != resource.RLIM_INFINITY:
        for half in ("reader", "exporter"):
            machine.write(_OF_THIS_MACHINE.format(half), _WITHOUT_LOCKED_MEMORY)


def install(machine: Container, package: Package) -> str:
    """Install *package* as its users do, and return what was said."""
    machine.write(f"/var/tmp/{package.file_name}", package.content)
    try:
        return machine.run(
            *("sh", "-c", 'cd /var/tmp && exec apt-get install -y "./$1"', "sh", package.file_name),
            seconds=100,
        ).stdout
    finally:
        machine.run("rm", f"/var/tmp/{package.file_name}")
