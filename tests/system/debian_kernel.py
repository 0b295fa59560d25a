"""Runs a command on Debian 12's kernel: `python -m tests.system.debian_kernel -- COMMAND ...`.

QEMU boots the kernel from Debian's package in a machine without a network. The command runs there
as root, in /srv/trafficd, which holds this tree as it is now; `trafficd` and what its tests need
are installed. Its output comes as it is written and its exit status is this program's; 125 says
that the machine failed. The processor is emulated, so all that computes is ten or twenty times
slower than here.
"""

import argparse
import io
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

from tests.system.debian_image import Machine, debian_machine
from tests.system.debian_packages import HERE, ROOT, MachineError

MACHINE_FAILED = 125
# Of timeout(1).
_TIMED_OUT = 124
_KILLED = 137
# Hardware virtualisation hung where this was written, and hosts of CI seldom have it.
_PROCESSOR = ("-machine", "q35,accel=tcg", "-cpu", "qemu64,+rdrand", "-smp", "2", "-m", "1G")
# An oops ends the machine at once, and a panic does not start it again.
_KERNEL_PARAMETERS = "console=ttyS0 oops=panic panic=-1"
_TREE_WITHOUT = ("build", "dist", "__pycache__")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended in the guest, and what it printed, errors included."""

    status: int
    output: str


def run_in_debian_kernel(
    command: Sequence[str],
    *,
    seconds: float = 300,
    files: Mapping[str, bytes] | None = None,
    is_booted: bool = False,
    shown_on: TextIO | None = None,
) -> Outcome:
    """Run *command* in a guest of its own, which is gone when this returns.

    *files* are put into the guest, by their absolute names there. If it *is_booted*, systemd is
    process 1 and the command one of its services. Output is written to *shown_on* as it comes.
    Units: *seconds* from power on to power off.
    Raises: MachineError if the guest was not off by then, or ended without saying how the command
    did; its last words are in the message.
    """
    with debian_machine() as machine, tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        processes = {"/srv/process-1": b"systemd" if is_booted else b"command"}
        _write_disk(folder / "disk", command, {**processes, **(files or {})})
        ended, output = _run_machine(machine, folder, seconds, shown_on)
        said = (folder / "status").read_text().strip()
        if not said:
            why = f"was not off after {seconds:.0f} s" if ended in (_TIMED_OUT, _KILLED) else "died"
            words = (folder / "console").read_text(errors="replace")[-6000:]
            raise MachineError(f"the machine {why}; its console: {words.strip()}")
        return Outcome(int(said), output)


def _write_disk(disk: Path, command: Sequence[str], files: Mapping[str, bytes]) -> None:
    """Write what a run brings, as an archive that the guest unpacks from a raw disk."""
    with tarfile.open(disk, "w") as archive:
        for file in sorted(ROOT.iterdir()):
            archive.add(file, f"srv/trafficd/{file.name}", filter=_without_what_was_made)
        for script in ("guest.sh", "command.sh"):
            archive.add(HERE / script, f"srv/{script}")
        archive.add(HERE / "command.service", "etc/systemd/system/command.service")
        for name, content in {"/srv/command": shlex.join(command).encode(), **files}.items():
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _without_what_was_made(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(entry.name).name
    if name in _TREE_WITHOUT or name.startswith(".") or name.endswith(".egg-info"):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _run_machine(
    machine: Machine, folder: Path, seconds: float, shown_on: TextIO | None
) -> tuple[int, str]:
    """Return what QEMU ended with and what came out of the guest's first port."""
    # Whatever becomes of this process, nothing of the machine outlives it or its time.
    bounded = ("setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", f"{seconds}")
    qemu = subprocess.Popen(
        [
            *(*bounded, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"),
            *("-display", "none", *_PROCESSOR, "-device", "virtio-rng-pci"),
            *("-kernel", machine.kernel, "-initrd", machine.initrd),
            *("-append", _KERNEL_PARAMETERS, "-serial", f"file:{folder / 'console'}"),
            *("-drive", f"file={machine.root},format=raw,if=virtio,snapshot=on"),
            *("-drive", f"file={folder / 'disk'},format=raw,if=virtio,readonly=on"),
            *("-device", "virtio-serial-pci"),
            *(
                "-chardev",
                "file,id=output,path=/dev/stdout",
                "-device",
                "virtserialport,chardev=output",
            ),
            *("-chardev", f"file,id=status,path={folder / 'status'}"),
            *("-device", "virtserialport,chardev=status"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    output = bytearray()
    with qemu:
        assert qemu.stdout is not None
        try:
            while piece := os.read(qemu.stdout.fileno(), 1 << 16):
                output += piece
                if shown_on is not None:
                    shown_on.write(piece.decode(errors="replace"))
                    shown_on.flush()
        except BaseException:
            qemu.terminate()
            raise
    return qemu.returncode, output.decode(errors="replace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.debian_kernel",
        description="Run a command as root on Debian 12's kernel, in an emulated machine.",
    )
    parser.add_argument(
        "--seconds", type=float, default=300, help="from power on to power off (%(default)s)"
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _leave)
    try:
        outcome = run_in_debian_kernel(
            arguments.command, seconds=arguments.seconds, shown_on=sys.stdout
        )
    except MachineError as error:
        sys.stderr.write(f"debian_kernel: {error}\n")
        return MACHINE_FAILED
    except KeyboardInterrupt:
        return 130
    return outcome.status


def _leave(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
