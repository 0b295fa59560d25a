"""A half of a node on a fast clock, until SIGTERM.

`python -m tests.system.push.fast_node reader|exporter CONFIG SOCKET UTC_START BOOT_START SPEED`, in
the network namespace whose links it counts, or on whose loopback its destinations listen.
"""

import sys
from pathlib import Path

from trafficd.config import read_config
from trafficd.demo.clock import FastClock
from trafficd.demo.halves import count, serve
from trafficd.kernel.sockets import open_link_sockets
from trafficd.rules import HOST_NAMESPACE
from trafficd.service.releases import connect_to_reader, open_releases


def main() -> None:
    """Run the half that the arguments name."""
    half, file, path, *clock_words = sys.argv[1:]
    settings, clock = read_config(Path(file)), FastClock(*map(float, clock_words))
    if half == "reader":
        count(settings, clock, open_link_sockets(HOST_NAMESPACE), open_releases(Path(path)))
    else:
        serve(settings, connect_to_reader(Path(path)), clock)


if __name__ == "__main__":
    main()
