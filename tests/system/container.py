"""Boots Debian 12 with systemd as process 1, in a container that is gone when it is left.

systemd-nspawn starts it, with the kernel of this host and a network of its own. What it writes goes
to a layer in RAM; /run/layer of its keeper (container.sh) shows all of it, which is what a machine
would have on its disk.
"""

import contextlib
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

from tests.system.cgroups import own_cgroup
from tests.system.debian_packages import HERE, ROOT, MachineError, demand
from tests.system.debian_root import debian_root
from tests.system.wheel import built_wheel

T = TypeVar("T")

_NSPAWN = (
    *("systemd-nspawn", "--quiet", "--boot", "--directory=/run/machine"),
    *("--register=no", "--keep-unit", "--private-network", "--console=pipe", "--link-journal=no"),
    *("--resolv-conf=off", "--timezone=off"),
)
_NSPAWN_ENVIRONMENT = {
    # Of a host with version 1, too.
    "UNIFIED_CGROUP_HIERARCHY": "1",
    # It knows neither Landlock nor all that a machine's services may call, and the filter it would
    # set is none that a machine has.
    "SYSTEMD_SECCOMP": "0",
}
_TUN = Path("/dev/net/tun")
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_BOOT_SECONDS = 60
# Of timeout(1).
_TIMED_OUT = (124, 137)
_KEEPER = "keeper"
# Where systemd-nspawn puts what it starts, and systemd itself.
_PAYLOAD = "machine/payload/init.scope"
# By hand, units stand where the administrator's do.
_UNITS = "/etc/systemd/system"
# LimitMEMLOCK= is not in force inside where this host may not lift its own limit, and without it
# a half asks whether the host has swap, which ProcSubset=pid hides.
_WITHOUT_LOCKED_MEMORY = "[Service]\nProcSubset=all\n"


@contextlib.contextmanager
def debian_container(
    *, packages: Sequence[str] = (), requirements: str = "node.txt"
) -> Iterator["Container"]:
    """Boot a container of its own, with Debian's *packages* besides the usual.

    *requirements* names what trafficd finds installed: a file of the directory of that name.

    When it is left, all of it is gone, processes, cgroups and mounts. If this process is killed,
    only empty cgroups stay, which the next container removes.
    Raises: MachineError if it cannot be made, or does not boot.
    """
    demand(("systemd-nspawn", "unshare", "nsenter", "setpriv"), "systemd-container util-linux")
    with (
        debian_root(packages, requirements=requirements) as root,
        own_cgroup() as cgroup,
        tempfile.TemporaryFile() as console,
        _keeper(root, cgroup, console) as keeper,
    ):
        yield Container(cgroup, keeper, console)


@contextlib.contextmanager
def _keeper(root: Path, cgroup: Path, console: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    for each in (_KEEPER, "machine"):
        (cgroup / each).mkdir()
    tun = (f"--bind={_TUN}",) if _TUN.exists() else ()
    keeper = subprocess.Popen(
        [
            # The cgroup first, so that nothing is ever outside of it.
            *("sh", "-c", 'echo 0 >"$1" && shift && exec "$@"', "sh"),
            cgroup / _KEEPER / "cgroup.procs",
            # With this process ends unshare, with unshare its child, and with that one all others.
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("sh", HERE / "container.sh", root, cgroup / "machine", *_NSPAWN, *tun),
        ],
        env=_ENVIRONMENT | _NSPAWN_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=console,
        stderr=subprocess.STDOUT,
    )
    try:
        yield keeper
    finally:
        keeper.kill()
        keeper.wait()


class Container:
    """A running machine; `debian_container` gives one."""

    def __init__(self, cgroup: Path, keeper: "subprocess.Popen[bytes]", console: IO[bytes]) -> None:
        self._cgroup = cgroup
        self._keeper = keeper
        self._console = console
        self.leader = self._booted()

    @property
    def root(self) -> Path:
        """Its file system; an absolute link in it, followed from here, leads out of it."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def written(self) -> Path:
        """What it wrote over the file system it started from, of that what is not in RAM.

        A name that was removed is a device file there (overlayfs.rst, whiteouts).
        """
        return Path("/proc", str(self._first_process(_KEEPER)), "root", "run", "layer")

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        seconds: float = 60,
        stdin: bytes | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command inside as root, with no environment but a path.

        Raises: MachineError with what it said, if it takes longer than *seconds*, or fails and
        *check* is set.
        """
        words = [str(each) for each in command]
        started_at = time.monotonic()
        done = subprocess.run(
            [
                *("nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net"),
                *("--pid", "--cgroup", "--root", "--wd"),
                *("timeout", "--kill-after=1", str(seconds), *words),
            ],
            env=_ENVIRONMENT,
            # With nothing, it is at its end at once.
            input=stdin or b"",
            capture_output=True,
            check=False,
        )
        output = [each.decode(errors="replace") for each in (done.stdout, done.stderr)]
        said = "".join(output).strip()[-4000:]
        if done.returncode in _TIMED_OUT and time.monotonic() - started_at >= seconds:
            raise MachineError(f"{' '.join(words)}: not done after {seconds} s: {said}")
        if check and done.returncode:
            raise MachineError(f"{' '.join(words)}: status {done.returncode}: {said}")
        return subprocess.CompletedProcess(words, done.returncode, *output)

    def write(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        """Write a file inside, and the directories it stands in."""
        data = content.encode() if isinstance(content, str) else content
        script = 'umask 077 && mkdir -p -m 755 "${2%/*}" && cat >"$2" && chmod "$1" "$2"'
        self.run("sh", "-c", script, "sh", f"{mode:o}", path, stdin=data)

    def journal(self, *arguments: str) -> str:
        """Return what the journal holds, a message a line: `"--unit=ssh"` narrows it down."""
        return self.run(
            *("journalctl", "--no-pager", "--quiet", "--boot", "--output=cat", *arguments)
        ).stdout

    def until(self, condition: Callable[[], T | None], seconds: float, what: str) -> T:
        """Return what *condition* returns as soon as that is true.

        Raises: MachineError that says *what* did not come, with the end of the journal.
        """
        deadline = time.monotonic() + seconds
        while True:
            if found := condition():
                return found
            if time.monotonic() > deadline:
                journal = self.journal("--lines=40", "--output=short-monotonic")
                raise MachineError(f"{what}: not after {seconds:.0f} s; the journal:\n{journal}")
            time.sleep(0.02)

    def install_trafficd(self) -> None:
        """Install this tree as the README says; nothing is enabled or started."""
        name, content = built_wheel()
        self.write(f"/tmp/{name}", content)
        self.run(
            *("/opt/trafficd/bin/python", "-m", "pip", "install", "--quiet", "--no-index"),
            *("--no-deps", "--force-reinstall", "--root-user-action=ignore", f"/tmp/{name}"),
        )
        self.run("rm", f"/tmp/{name}")
        self.run("sh", "-c", "getent group trafficd || groupadd --system trafficd")
        self.write("/etc/trafficd/agent.yml", (ROOT / "config" / "agent.yml").read_bytes(), 0o600)
        for unit in sorted((ROOT / "systemd").iterdir()):
            self.write(f"{_UNITS}/{unit.name}", unit.read_bytes())
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] != resource.RLIM_INFINITY:
            for half in ("reader", "exporter"):
                place = f"{_UNITS}/trafficd-{half}.service.d/of-this-host.conf"
                self.write(place, _WITHOUT_LOCKED_MEMORY)
        self.run("systemctl", "daemon-reload")

    def reboot(self) -> None:
        """Start systemd anew: /run is empty, the boot id another, and the disk as it was."""
        before = self.leader
        self.run("systemctl", "--no-block", "reboot")
        self._wait(lambda: self._first_process(_PAYLOAD) != before)
        self.leader = self._booted()

    def _booted(self) -> int:
        """Return process 1 as soon as all that starts with the machine has started."""
        self.leader = self._wait(lambda: self._first_process(_PAYLOAD))
        self._wait(self._is_up)
        return self.leader

    def _is_up(self) -> bool:
        said = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        return said in ("running", "degraded")

    def _first_process(self, cgroup: str) -> int:
        """Return the process of that cgroup which is 1 in its own namespace; 0 if none is."""
        with contextlib.suppress(OSError):
            for each in (self._cgroup / cgroup / "cgroup.procs").read_text().split():
                # proc_pid_status(5): its numbers from the outermost namespace to its own.
                if re.search(r"(?m)^NSpid:.*\s1$", Path("/proc", each, "status").read_text()):
                    return int(each)
        return 0

    def _wait(self, condition: Callable[[], T]) -> T:
        """Return what *condition* returns as soon as that is true, while the container boots."""
        deadline = time.monotonic() + _BOOT_SECONDS
        while not (found := condition()):
            ended = self._keeper.poll()
            if ended is not None or time.monotonic() > deadline:
                self._console.seek(0)
                words = self._console.read()[-4000:].decode(errors="replace").strip()
                why = "did not boot" if ended is None else f"ended with {ended}"
                raise MachineError(f"the container {why}; its console: {words}")
            time.sleep(0.02)
        return found
