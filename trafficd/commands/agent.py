"""trafficd agent: reader and exporter as two processes, until SIGTERM."""

import argparse
import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from trafficd.config import read_config
from trafficd.errors import StateError
from trafficd.log import start_logging
from trafficd.service.halves import Half, run_halves
from trafficd.service.releases import open_releases
from trafficd.service.sockets import RELEASES

EXAMPLE = "trafficd agent --config /etc/trafficd/agent.yml"
SUMMARY = "count this node and serve /metrics: reader and exporter as two processes"

NO_STATE = "none"
_DEFAULT_STATE = "/run/trafficd"
_OWNER_ONLY = 0o700
_IN_RAM = Path("/dev/shm")  # noqa: S108  # shm_overview(7)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--state",
        default=_DEFAULT_STATE,
        metavar="DIRECTORY",
        help=f"on a tmpfs, where totals outlive the agent (%(default)s); or `{NO_STATE}`",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run both halves; return 0 after a signal, else the code of the half that failed."""
    # After the arguments are read, so that --help does not wait for netlink.
    from trafficd.kernel.sockets import open_all_link_sockets

    start_logging()
    settings = read_config(arguments.config)
    with _directory(arguments.state) as directory:
        state = NO_STATE if arguments.state == NO_STATE else str(directory / "state")
        releases = directory / "releases"
        handed: list[tuple[str, socket.socket]] = [(RELEASES, open_releases(releases))]
        for sockets in open_all_link_sockets(settings.namespaces):
            handed += [(sockets.namespace, sockets.events), (sockets.namespace, sockets.dumps)]
        config = ["--config", str(arguments.config)]
        reader = ["reader", *config, "--state", state]
        exporter = ["exporter", *config, "--releases", str(releases)]
        return run_halves(
            [
                Half("reader", reader, handed, config=arguments.config),
                Half("exporter", exporter, (), config=arguments.config),
            ]
        )


@contextlib.contextmanager
def _directory(state: str) -> Iterator[Path]:
    """Have the directory of state and releases, for this user alone."""
    if state == NO_STATE:
        # Here, because every command is imported at each start, and it costs 15 ms.
        import tempfile

        place = _IN_RAM if os.access(_IN_RAM, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="trafficd-", dir=place) as made:
            yield Path(made)
        return
    directory = Path(state)
    with contextlib.ExitStack() as ladder:
        try:
            directory.mkdir(mode=_OWNER_ONLY, exist_ok=True)
            opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            ladder.callback(os.close, opened)
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"state: {directory}: another agent has it") from None
        except OSError as error:
            raise StateError(
                f"state: {directory}: cannot be had: {error.strerror}; name a directory on a tmpfs"
                f" with --state, like /dev/shm/trafficd, or `--state {NO_STATE}`"
            ) from error
        yield directory
