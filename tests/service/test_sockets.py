"""Sockets that are handed over are told by what they are, whoever hands them over."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

# Makes sockets of these kinds, puts them where sd_listen_fds(3) says, and asks for them.
PROGRAM = """
import fcntl, json, os, socket, sys
from trafficd.errors import SocketsMissingError
from trafficd.service.sockets import Handed

def unix(kind, listens=False):
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind("")
    if listens:
        made.listen()
    return made

def netlink(groups):
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    made.bind((0, groups))
    return made

KINDS = {
    "events": lambda: netlink(1),
    "dumps": lambda: netlink(0),
    "releases": lambda: unix(socket.SOCK_SEQPACKET, listens=True),
    "connection": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0],
    "texts": lambda: unix(socket.SOCK_DGRAM),
    "stream": lambda: unix(socket.SOCK_STREAM, listens=True),
    "tcp": lambda: socket.create_server(("127.0.0.1", 0)),
    "tcp6": lambda: socket.create_server(("::1", 0), family=socket.AF_INET6),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
}
given, questions, environment = json.loads(sys.argv[1])
# Above all places, so that filling one never overwrites another.
made = [KINDS[kind]() for _, kind in given]
high = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 100) for each in made]
for each in made:
    each.close()
for number, each in enumerate(high):
    os.dup2(each, 3 + number)
    os.close(each)
handed = Handed({
    "LISTEN_PID": str(os.getpid()),
    "LISTEN_FDS": str(len(given)),
    "LISTEN_FDNAMES": ":".join(name for name, _ in given),
    **environment,
})
taken, kept = [], []
for question, *arguments in questions:
    try:
        found = getattr(handed, question)(*arguments)
    except SocketsMissingError as error:
        taken.append(str(error))
        continue
    several = found if isinstance(found, list) else [found]
    taken.append([each and given[each.fileno() - 3][1] + "@" + given[each.fileno() - 3][0]
                  for each in several])
    kept.extend(several)
handed.close()
left = []
for number, (name, kind) in enumerate(given):
    try:
        os.fstat(3 + number)
        left.append(kind)
    except OSError:
        pass
print(json.dumps([taken, left]))
sys.stdout.flush()
os._exit(0)
"""


@dataclass(frozen=True)
class Told:
    """What was found at each question, as kind@name or in words, and which are open at the end."""

    answers: list[Any]
    left: list[str]


def ask(given: list[tuple[str, str]], *questions: tuple[str, ...], **environment: str) -> Told:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM,
         json.dumps([given, questions, environment])],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return Told(*json.loads(done.stdout))


READER = (("events", "host"), ("dumps", "host"), ("releases",), ("lifeline",))
EXPORTER = (("connection",), ("lifeline",), ("metrics",))


def test_a_socket_unit_has_one_name_for_all_of_them() -> None:
    names = "texts", "releases", "dumps", "events"

    told = ask([("host", kind) for kind in names], *READER)

    assert told.answers == [["events@host"], ["dumps@host"], ["releases@host"], ["texts@host"]]
    assert sorted(told.left) == sorted(names)


def test_the_agent_hands_the_same_over_under_other_names() -> None:
    given = [("releases", "releases"), ("host", "events"), ("host", "dumps"),
             ("agent", "connection")]  # fmt: skip

    told = ask(given, *READER)

    assert told.answers == [
        ["events@host"], ["dumps@host"], ["releases@releases"], ["connection@agent"],
    ]  # fmt: skip


def test_the_sockets_of_a_namespace_are_known_by_its_name() -> None:
    given = [(name, kind) for name in ("vpn", "host", "lan") for kind in ("dumps", "events")]

    told = ask(
        given, *((kind, name) for name in ("host", "lan", "vpn") for kind in ("events", "dumps"))
    )

    assert told.answers == [
        ["events@host"], ["dumps@host"], ["events@lan"], ["dumps@lan"],
        ["events@vpn"], ["dumps@vpn"],
    ]  # fmt: skip


def test_an_exporter_takes_every_listener_of_ip_and_no_other_socket() -> None:
    given = [("http", "tcp"), ("http", "udp"), ("http", "stream"), ("http", "tcp6"),
             ("reload", "texts")]  # fmt: skip

    told = ask(given, *EXPORTER)

    assert told.answers == [[None], ["texts@reload"], ["tcp@http", "tcp6@http"]]
    # What nobody took is closed.
    assert sorted(told.left) == ["tcp", "tcp6", "texts"]


def test_a_connection_to_the_reader_is_not_taken_for_that_to_the_agent() -> None:
    given = [("agent", "connection"), ("releases", "connection")]

    told = ask(given, *EXPORTER)

    assert told.answers == [["connection@releases"], ["connection@agent"], []]


def test_a_socket_is_taken_once() -> None:
    told = ask([("host", "events")], ("events", "host"), ("events", "host"))

    assert told.answers[0] == ["events@host"]
    assert told.answers[1].startswith("no netlink socket with a group, named host was handed over")


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (("events", "host"), "no netlink socket with a group, named host was handed over"),
        (("dumps", "host"), "no netlink socket without a group, named host was handed over"),
        (("releases",), "no listening unix socket was handed over"),
    ],
)
def test_what_a_reader_cannot_do_without_is_named_with_who_starts_it(
    question: tuple[str, ...], told: str
) -> None:
    found = ask([("http", "tcp"), ("vpn", "events"), ("vpn", "dumps")], question)

    assert found.answers == [f"{told}: start this half by its unit or by `trafficd agent`"]


def test_one_netlink_socket_is_not_taken_for_the_other() -> None:
    only_events = ask([("host", "events")], ("dumps", "host"))
    only_dumps = ask([("host", "dumps")], ("events", "host"))

    assert only_events.answers[0].startswith("no netlink socket without a group")
    assert only_dumps.answers[0].startswith("no netlink socket with a group")


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    told = ask([("host", "events")], ("lifeline",), ("metrics",), LISTEN_PID="1")

    assert told.answers == [[None], []]
    assert told.left == ["events"]


def test_names_that_do_not_fit_the_sockets_are_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        ask([("host", "events")], LISTEN_FDNAMES="host:host")

    assert "1 descriptors were handed over with 2 names" in refused.value.stderr
