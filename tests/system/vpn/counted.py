"""Runs a VPN server in `trafficd lab`, and says what trafficd wrote and what the kernel counted.

`python -m tests.system.vpn.counted SERVER CLIENTS SECONDS` does so without a file system of its
own, and prints a line of JSON.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
HOST_NAME = "host-CANARY-ada"
_WINDOW_SECONDS = 300
# The lab's own beginning and end, beside three windows.
_FURTHER_SECONDS = 600
# There are no rules on links: those that are built in find everything.
_CONFIG = "window: 5m\n"


@dataclass(frozen=True, slots=True)
class Counted:
    """How the lab ended, all that trafficd wrote, and the report of what was inside.

    Shape: *report* is as in inside.py; *said* is what the servers said, for who looks for a fault.
    """

    status: int
    output: str
    log: str
    report: dict[str, Any] = field(default_factory=dict)
    said: str = ""


def count(
    server: str, *, clients: int, window_seconds: float, root: Path, further_config: str = ""
) -> Counted:
    """Run *server*, by module and function, with programs of *root*.

    Units: *window_seconds* are how long a window takes in the world.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config, report = folder / "agent.yml", folder / "report"
        config.write_text(_CONFIG + further_config)
        inside = ("inside", server, str(clients), str(root), str(config), str(report))
        done = subprocess.run(
            [
                # Whatever becomes of this process, nothing that it started outlives it.
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child", "--fork", "--pid"),
                *("--mount", "--mount-proc", "--uts", "sh", "-c"),
                f'echo {HOST_NAME} >/proc/sys/kernel/hostname; exec "$@"',
                *("sh", sys.executable, "-m", "trafficd", "lab", "--config", str(config)),
                *("--metrics", f"--speed={_WINDOW_SECONDS / window_seconds}", "--"),
                *(sys.executable, "-m", f"tests.system.vpn.{inside[0]}", *inside[1:]),
            ],
            capture_output=True,
            text=True,
            timeout=3 * window_seconds + _FURTHER_SECONDS,
            check=False,
            cwd=ROOT,
        )
        said = Path(f"{report}.said")
        return Counted(
            done.returncode,
            done.stdout,
            done.stderr,
            json.loads(report.read_text()) if report.exists() else {},
            said.read_text(errors="replace") if said.exists() else "",
        )


def main() -> None:
    """Count the server that the arguments name."""
    server, clients, seconds = sys.argv[1:]
    counted = count(server, clients=int(clients), window_seconds=float(seconds), root=Path("/"))
    sys.stdout.write(json.dumps(asdict(counted)) + "\n")


if __name__ == "__main__":
    main()
