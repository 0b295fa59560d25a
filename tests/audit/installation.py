"""trafficd installed as a wheel would be, with a record, in an environment of its own."""

import base64
import contextlib
import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

import trafficd
from tests.conftest import Namespace

PACKAGE = Path(trafficd.__file__).parent
ROOT = Path(__file__).parent.parent.parent
# A host without swap has nowhere to put memory, locked or not.
HAS_SWAP = len(Path("/proc/swaps").read_text().splitlines()) > 1
# The state lies on a tmpfs, and /run is none everywhere.
_IN_RAM = "/dev/shm"


def install(place: Path) -> "Installation":
    """Make an environment at *place* with trafficd and all that it needs, each with its record."""
    made = [sys.executable, "-m", "venv", "--without-pip", str(place)]
    subprocess.run(made, check=True, timeout=120)
    (site,) = (place / "lib").glob("python*/site-packages")
    # Of the tree itself: an editable installation remembers what it needed once.
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for needed in _needed(requirements, set()):
        _copy(needed, site)
    shutil.copytree(PACKAGE, site / "trafficd", ignore=shutil.ignore_patterns("__pycache__"))
    _write_record(site, requirements)
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o022)
    return Installation(place)


@contextlib.contextmanager
def temporary_installation() -> Iterator["Installation"]:
    """Install it for a while; skip the tests that need it where nobody could audit."""
    is_root = Path("/proc/self/uid_map").read_text().split()[:2] == ["0", "0"]
    if os.geteuid() or not is_root:
        pytest.skip("an audit takes root of the machine, not of a user namespace")
    # Apart from the other tests' directories, which some of them open to everybody.
    with tempfile.TemporaryDirectory(prefix="trafficd-installed-") as place:
        yield install(Path(place) / "env")


def lock_is_missing() -> bool:
    """Tell whether memory may be swapped here and root may not lock it."""
    if not HAS_SWAP:
        return False
    program = "import resource as r; r.setrlimit(r.RLIMIT_MEMLOCK, (-1, -1))"
    tried = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    return tried.returncode != 0


@dataclass(frozen=True, slots=True)
class Installation:
    """The environment, which a test may spoil if it puts back what it changed."""

    place: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.place / "bin" / "python"

    @property
    def package(self) -> Path:
        """The directory of the package in it."""
        (found,) = (self.place / "lib").glob("python*/site-packages/trafficd")
        return found

    @contextlib.contextmanager
    def agent(
        self,
        namespace: Namespace,
        config: Path,
        variant: str = "",
        *,
        cwd: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
    ) -> Iterator["RunningAgent"]:
        """Run an agent in *namespace*; *variant* is code that Python runs first in each process."""
        clean = {"PATH": os.environ["PATH"], "HOME": "/"}
        environment = {**(clean if environment is None else environment)}
        if variant:
            folder = config.parent / "variant"
            folder.mkdir()
            (folder / "sitecustomize.py").write_text(variant)
            environment["PYTHONPATH"] = str(folder)
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        with contextlib.ExitStack() as started:
            state = started.enter_context(tempfile.TemporaryDirectory(dir=_IN_RAM))
            process = subprocess.Popen(
                ["ip", "netns", "exec", namespace.name, str(self.python), "-m", "trafficd", "agent",
                 "--config", str(config), "--state", state],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, cwd=cwd, env=environment,
            )  # fmt: skip
            started.callback(_end, process)
            _wait_until_ready(process)
            yield RunningAgent(process.pid, Path(state))

    def audit(self, config: Path, *arguments: str, prefix: Sequence[str] = ()) -> "Audit":
        """Audit what runs with *config*, by way of the command *prefix*."""
        done = subprocess.run(
            [*prefix, str(self.python), "-m", "trafficd", "audit", "--config", str(config),
             "--json", *arguments],
            capture_output=True, text=True, cwd="/", timeout=120, check=False,
        )  # fmt: skip
        return Audit(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent that serves, and where its state and its socket for releases are."""

    process: int
    place: Path

    def half(self, name: str) -> int:
        """Return the process of the reader or exporter."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text()
        for child in children.split():
            if name in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
                return int(child)
        raise AssertionError(f"no {name}")


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit printed."""

    code: int
    output: str
    errors: str

    @property
    def whole(self) -> Mapping[str, object]:
        """The object that it printed."""
        assert self.output, self.errors
        told = json.loads(self.output)
        assert isinstance(told, dict)
        return told

    def of(self, verdict: str) -> set[str]:
        """Return the identities of the claims with *verdict*, of those that are about trafficd.

        What else runs on the machine of a test is not the test's.
        """
        found = {each["id"] for each in self.claims if each["verdict"] == verdict}
        return {each for each in found if not each.startswith("outside.")}

    @property
    def claims(self) -> list[dict[str, str]]:
        """The claims, in order."""
        claims = self.whole["claims"]
        assert isinstance(claims, list)
        return claims

    def evidence(self, identity: str) -> str:
        """Return the evidence of all findings of *identity*."""
        return "; ".join(each["evidence"] for each in self.claims if each["id"] == identity)


def _wait_until_ready(process: "subprocess.Popen[str]") -> None:
    late = threading.Timer(60, process.kill)
    late.start()
    missing = {"exporter: serving", "reader: counting"}
    said: list[str] = []
    assert process.stderr is not None
    while missing:
        line = process.stderr.readline()
        assert line, f"the agent ended: {said}"
        said.append(line)
        missing = {each for each in missing if each not in line}
    late.cancel()


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    late = threading.Timer(60, process.kill)
    late.start()
    with process:
        assert process.stderr is not None
        process.stderr.read()
    late.cancel()


def _needed(requirements: Iterable[str], seen: set[str]) -> Iterator[Distribution]:
    for requirement in requirements:
        (name,) = re.findall(r"^[A-Za-z0-9._-]+", requirement)
        if "extra ==" in requirement or name in seen:
            continue
        seen.add(name)
        # Some are for another Python only.
        with contextlib.suppress(PackageNotFoundError):
            found = distribution(name)
            yield found
            yield from _needed(found.requires or (), seen)


def _copy(needed: Distribution, site: Path) -> None:
    """Copy a library as it would be installed there; scripts of its own are left out."""
    for file in needed.files or ():
        source = Path(str(needed.locate_file(file)))
        if "__pycache__" in file.parts or ".." in file.parts or not source.exists():
            continue
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, site / file)
        if file.name == "RECORD":
            rows = source.read_text().splitlines(keepends=True)
            inside = (row for row in rows if not row.startswith("../"))
            (site / file).write_text("".join(inside))


def _write_record(site: Path, requirements: Iterable[str]) -> None:
    info = site / f"trafficd-{trafficd.__version__}.dist-info"
    info.mkdir()
    metadata = ["Metadata-Version: 2.1", "Name: trafficd", f"Version: {trafficd.__version__}"]
    metadata += [f"Requires-Dist: {each}" for each in requirements]
    (info / "METADATA").write_text("\n".join(metadata) + "\n")
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for file in sorted(each for each in (site / "trafficd").rglob("*") if each.is_file()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=")
        rows.writerow([file.relative_to(site), f"sha256={digest.decode()}", file.stat().st_size])
    rows.writerow([f"{info.name}/RECORD", "", ""])
    (info / "RECORD").write_text(record.getvalue())
