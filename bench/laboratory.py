"""What the numbers are measured on: namespaces, built tools and processes, all gone at the end."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from pyroute2 import netns

ROOT = Path(__file__).resolve().parents[1]
LINKS = 10_000

# What takes longer than this hangs; building 10,000 links takes some 10 s.
_LONGEST_SECONDS = 300.0
_STOP_SECONDS = 10.0


class MissingToolError(Exception):
    """Something to measure with is not here; the number is skipped and says so."""


class UnsoundError(Exception):
    """What was measured is not what was meant; the number counts as missed and says so."""


class Laboratory:
    """Makes what is asked for once, and takes it away when the `with` ends."""

    def __init__(self, tools: Path) -> None:
        self._tools = tools
        self._ladder = contextlib.ExitStack()
        self._numbers = itertools.count()
        self._built: dict[str, Path] = {}
        self._many_links = ""

    def __enter__(self) -> "Laboratory":
        folder = tempfile.TemporaryDirectory(prefix="trafficd-bench-")
        self.folder = Path(self._ladder.enter_context(folder))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not leave 10,000 links behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._ladder.__exit__(kind, error, trace)

    def tool(self, name: str) -> Path:
        """Return the file *name* of the tools folder.

        Raises: MissingToolError if it is not there.
        """
        path = self._tools / name
        if not path.is_file():
            raise MissingToolError(f"no {name} in {self._tools}; say --tools DIR")
        return path

    def built(self, name: str) -> Path:
        """Return the program built of the tool *name*.c.

        Raises: MissingToolError if there is no source or no compiler.
        """
        if name not in self._built:
            source = self.tool(f"{name}.c")
            compiler = program("gcc")
            output = self.folder / name
            run(compiler, "-O2", "-o", str(output), str(source))
            self._built[name] = output
        return self._built[name]

    def many_links(self) -> str:
        """Return the namespace with LINKS links of many_links.sh; it is made once.

        Raises: MissingToolError if there is no many_links.sh.
        """
        if not self._many_links:
            script = self.tool("many_links.sh")
            name = self._name()
            self._ladder.callback(_delete_namespace, name)
            run("bash", str(script), name, str(LINKS))
            run("ip", "-n", name, "link", "set", "lo", "up")
            self._many_links = name
        return self._many_links

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """Lend a namespace with nothing but lo in it."""
        name = self._name()
        with contextlib.ExitStack() as ladder:
            ladder.callback(_delete_namespace, name)
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
            yield name

    @contextlib.contextmanager
    def state(self) -> Iterator[Path]:
        """Lend a folder in RAM, where an agent finds no state and keeps its own."""
        with tempfile.TemporaryDirectory(prefix="trafficd-bench-", dir="/dev/shm") as folder:
            yield Path(folder)

    def _name(self) -> str:
        return f"trafficd-bench-{os.getpid()}-{next(self._numbers)}"


def program(name: str) -> str:
    """Return where the program *name* is installed.

    Raises: MissingToolError if it is not.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is not installed")
    return found


def run(*command: str, given: str = "") -> str:
    """Run *command* to its end with *given* as its input, and return what it printed.

    Raises: UnsoundError if it fails or hangs.
    """
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
            check=False,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired as error:
        raise UnsoundError(f"{command[0]}: not at its end in {error.timeout:.0f} s") from error
    if done.returncode:
        raise UnsoundError(f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def inside(namespace: str, *command: str) -> list[str]:
    """Return *command* as one that runs in *namespace*."""
    return ["ip", "netns", "exec", namespace, *command]


@contextlib.contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Open sockets in *namespace* meanwhile; they stay there."""
    netns.pushns(namespace)
    try:
        yield
    finally:
        netns.popns()


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* meanwhile, without its output, and end it."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End *process* by SIGTERM, or by SIGKILL if it does not listen."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def trafficd(*arguments: str) -> list[str]:
    """Return the command that runs this tree's `trafficd` with this Python."""
    return [sys.executable, "-m", "trafficd", *arguments]


def _delete_namespace(name: str) -> None:
    # Absent if the bench was interrupted before it was made.
    subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
