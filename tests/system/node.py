"""trafficd as installed in a container, and what systemd says of it."""

import re
from pathlib import Path

from tests.system.container import Container

TARGET = "trafficd.target"
READER, EXPORTER = "trafficd-reader.service", "trafficd-exporter.service"
EVENTS = "trafficd-reader.socket"
SOCKETS = (EVENTS, "trafficd-reload.socket", "trafficd-exporter.socket")
CONFIG = "/etc/trafficd/agent.yml"
# systemd links /run/trafficd-reader to it (systemd.exec(5), DynamicUser=).
STATE = "/run/private/trafficd-reader"
_CHANGED = "changed-by-test.conf"
_PAGE = """
import ssl, sys, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with urllib.request.urlopen(sys.argv[1], context=context) as answer:
    print(answer.read().decode())
"""
_SECONDS = 40


class Node:
    """An installed node; what it says of the journal begins when this is made."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine
        said = machine.run("journalctl", "--lines=1", "--show-cursor", "--quiet").stdout
        self._since = said.rpartition("-- cursor: ")[2].strip()

    def clean(self) -> None:
        """Stop all and leave it as it was installed."""
        self.systemctl("stop", TARGET, READER, EXPORTER)
        self.systemctl("disable", TARGET)
        self.systemctl("stop", "trafficd*.socket")
        self.systemctl("reset-failed")
        self.machine.run(
            "sh", "-c", f"rm -rf {STATE} /etc/systemd/system/*/{_CHANGED} /etc/trafficd/*"
        )
        self.configure("")

    def systemctl(self, *words: str, check: bool = True) -> int:
        """Run systemctl and return its exit status."""
        return self.machine.run("systemctl", *words, check=check).returncode

    def configure(self, text: str) -> None:
        """Write a configuration that only root can read, and have systemd read its units."""
        self.machine.write(CONFIG, text, 0o600)
        self.systemctl("daemon-reload")

    def change(self, unit: str, lines: str) -> None:
        """Add *lines* to a unit's service until it is `clean`."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/{_CHANGED}", f"[Service]\n{lines}")
        self.systemctl("daemon-reload")

    def change_back(self) -> None:
        """Take away what `change` added."""
        self.machine.run("sh", "-c", f"rm /etc/systemd/system/*/{_CHANGED}")
        self.systemctl("daemon-reload")

    def start(self) -> None:
        """Start the node and wait until both halves run."""
        self.systemctl("start", TARGET)
        self.until_active(READER, EXPORTER)

    def until_active(self, *units: str) -> None:
        """Wait until all *units* run."""
        self.machine.until(
            lambda: all(self.is_active(each) for each in units), _SECONDS, " and ".join(units)
        )

    def is_active(self, unit: str) -> bool:
        """Return whether the unit runs or listens."""
        return self.show(unit, "ActiveState") == "active"

    def show(self, unit: str, name: str) -> str:
        """Return a property of the unit."""
        command = ("systemctl", "show", f"--property={name}", "--value", unit)
        return self.machine.run(*command).stdout.strip()

    def process(self, unit: str) -> str:
        """Return the number of the unit's process there, once it has one."""
        return self.next_process(unit, "")

    def next_process(self, unit: str, before: str) -> str:
        """Return the number of the process that came after *before*, once it is there."""
        return self.machine.until(
            lambda: {self.show(unit, "MainPID")} - {"0", before}, _SECONDS, f"{unit}'s process"
        ).pop()

    def journal(self, unit: str) -> str:
        """Return what the unit said, and systemd of it, since this was made."""
        return self.machine.journal(f"--unit={unit}", f"--after-cursor={self._since}")

    def netlink_sockets(self, namespace: str = "/proc/1/ns/net") -> set[str]:
        """Return the inodes of the reader's netlink sockets in a namespace."""
        held = self.machine.run(
            "sh", "-c", f"readlink /proc/{self.process(READER)}/fd/*", check=False
        )
        known = self.machine.run("nsenter", f"--net={namespace}", "cat", "/proc/net/netlink")
        inodes = {line.split()[-1] for line in known.stdout.splitlines()}
        return inodes & set(re.findall(r"socket:\[(\d+)\]", held.stdout))

    def page(self, scheme: str = "http") -> str:
        """Return what /metrics answers."""
        address = f"{scheme}://127.0.0.1:9787/metrics"
        return self.machine.run("python3", "-c", _PAGE, address).stdout

    def link_comes_and_goes(self) -> None:
        """Have the kernel tell whoever has an event socket."""
        for change in ("add", "del"):
            self.machine.run("ip", "tuntap", change, "tun7", "mode", "tun")

    def seconds_of_systemd(self) -> float:
        """Return the processor time that process 1 took (proc_pid_stat(5), utime and stime)."""
        stat = Path(f"/proc/{self.machine.leader}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100
