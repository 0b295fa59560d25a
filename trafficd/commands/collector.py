"""trafficd collector: the central service, and the commands for its nodes and its file."""

import argparse
import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trafficd.errors import TrafficdError
from trafficd.log import start_logging
from trafficd.service.notify import ServiceManager
from trafficd.units import NodeName, Word

if TYPE_CHECKING:
    from trafficd.collector.config import CollectorSettings
    from trafficd.collector.store import Store

EXAMPLE = "trafficd collector --config /etc/trafficd/collector.yml"
SUMMARY = "the central service that nodes push to; or add-node, revoke-node, list-nodes, backup"
_FOR_EVER = 1 << 62


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, and those of its own commands."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.set_defaults(do=_serve)
    commands = parser.add_subparsers(metavar="COMMAND", title="instead of serving")

    def declare(
        name: str, do: Callable[[argparse.Namespace, Path], int], summary: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        command.set_defaults(do=_on_database(do))
        return command

    add = declare("add-node", _add_node, "let a node write, and print its token, once")
    add.add_argument("name", metavar="NAME", type=_parsed(NodeName))
    add.add_argument("--location", required=True, metavar="PLACE", type=_parsed(Word))
    revoke = declare("revoke-node", _revoke_node, "let a node write no more; its history stays")
    revoke.add_argument("name", metavar="NAME")
    declare("list-nodes", _list_nodes, "print every node, its location, and whether it may write")
    backup = declare("backup", _back_up, "write a copy of the database, while it is in use or not")
    backup.add_argument("copy", type=Path, metavar="COPY")
    declare("verify", _verify, "print what is wrong with the database; exit 1 if anything is")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM, or do what is asked instead."""
    # After the arguments are read, so that --help does not wait for the database's modules.
    from trafficd.collector.config import read_collector_config

    return int(arguments.do(arguments, read_collector_config(arguments.config)))


def _serve(_: argparse.Namespace, settings: "CollectorSettings") -> int:
    from trafficd.clock import SystemClock
    from trafficd.collector.app import run_collector

    start_logging()
    asyncio.run(run_collector(settings, ServiceManager(os.environ), SystemClock()))
    return 0


def _on_database(
    do: Callable[[argparse.Namespace, Path], int],
) -> Callable[[argparse.Namespace, "CollectorSettings"], int]:
    return lambda arguments, settings: do(arguments, Path(settings.database))


def _add_node(arguments: argparse.Namespace, database: Path) -> int:
    from trafficd.collector.credentials import hash_of, new_token

    token = new_token()
    _make_room(database)
    with _opened(database) as store:
        _refuse_move(store, arguments.name, arguments.location)
        store.add_node(arguments.name, arguments.location, hash_of(token))
    print(f"{arguments.name} may write from now on, with this token, which is not shown again:")
    print(token)
    return 0


def _refuse_move(store: "Store", name: str, location: str) -> None:
    """Refuse another location for a node with a history, which counts towards the old one.

    Raises: TrafficdError with the mend.
    """
    for known in store.nodes():
        was = known.node
        if was.name != name or was.location == location:
            continue
        if next(store.history(was.number, 0, _FOR_EVER), None) is not None:
            raise TrafficdError(
                f"{name}: has a history in {was.location}, which stays there; for {location}"
                " choose another name"
            )


def _revoke_node(arguments: argparse.Namespace, database: Path) -> int:
    with _opened(database) as store:
        store.revoke_node(arguments.name)
    print(f"{arguments.name} may write no more")
    return 0


def _list_nodes(_: argparse.Namespace, database: Path) -> int:
    with _opened(database) as store:
        known = store.nodes()
    for each in known:
        words = [each.node.name, each.node.location, "added", _day(each.added_at)]
        if each.revoked_at is not None:
            words += ["revoked", _day(each.revoked_at)]
        print(*words)
    return 0


def _back_up(arguments: argparse.Namespace, database: Path) -> int:
    from trafficd.collector.backup import back_up

    back_up(database, arguments.copy)
    _give(arguments.copy, database)
    print(f"{arguments.copy}: a whole copy of {database}")
    return 0


def _verify(_: argparse.Namespace, database: Path) -> int:
    from trafficd.collector.backup import verify

    findings = verify(database)
    for finding in findings:
        print(finding)
    if findings:
        return 1
    print(f"{database}: good")
    return 0


def _make_room(database: Path) -> None:
    """Make the directory of *database* where a node is added before the service ever started.

    systemd makes it the service's then, with all that is in it (systemd.exec(5), DynamicUser=).
    """
    from trafficd.collector.store_schema import translated

    with translated(database), suppress(FileExistsError):
        database.parent.mkdir(0o700)


@contextmanager
def _opened(database: Path) -> Iterator["Store"]:
    from trafficd.collector.store import Store

    _begin(database)
    with closing(Store(database)) as store:
        yield store


def _begin(database: Path) -> None:
    """Make an empty file for a new database, the directory's owner's: the service writes it, too.

    SQLite gives the files beside it to the same owner (os_unix.c, robustFchown).
    """
    from trafficd.collector.store_schema import translated

    with translated(database), suppress(FileExistsError):
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _give(database, database.parent)


def _give(path: Path, others: Path) -> None:
    """Let *path*, which root may have made, belong to whom *others* belongs to."""
    if os.geteuid() == 0:
        owner = others.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _parsed(kind: type[NodeName] | type[Word]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            return kind.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}") from error

    return parse


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
