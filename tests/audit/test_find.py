"""Which processes are halves, by their command lines."""

from pathlib import Path

import pytest

from trafficd.audit import proc
from trafficd.audit.find import Found, command_of, find_halves
from trafficd.errors import TrafficdError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("/opt/bin/python -m trafficd reader --config /etc/a.yml", ("reader", "/etc/a.yml")),
        ("python3 -P -m trafficd exporter --config=a.yml", ("exporter", "a.yml")),
        ("/opt/bin/python /opt/bin/trafficd reader --conf a.yml", ("reader", "a.yml")),
        ("/opt/bin/trafficd agent --config a.yml", ("agent", "a.yml")),
        ("vi trafficd", None),
        ("python -m trafficd reader", None),
        ("python -m trafficd reader --config", None),
        ("python -m trafficd.cli reader --config a.yml", None),
        ("grep -r trafficd reader --config a.yml", None),
        ("", None),
    ],
)
def test_a_command_line_is_read_as_argparse_reads_it(
    words: str, expected: tuple[str, str] | None
) -> None:
    assert command_of(words.split()) == expected


TEXT = "window: 1h\n"
OWN, OF_A_CONTAINER = "pid:[4026531836]", "pid:[4026532700]"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "agent.yml"
    file.write_text(TEXT)
    return file


class Machine:
    """A machine by its /proc, as far as halves are looked for there."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "self" / "ns").mkdir(parents=True)
        (place / "self" / "ns" / "pid").symlink_to(OWN)

    def run(self, number: int, command: str, parent: int = 1, *, where: str = OWN) -> None:
        """Have a process that was called with *command*."""
        directory = self.place / str(number)
        (directory / "ns").mkdir(parents=True)
        (directory / "ns" / "pid").symlink_to(where)
        (directory / "cwd").symlink_to("/")
        (directory / "root").symlink_to("/")
        (directory / "status").write_text(f"PPid:\t{parent}\n")
        (directory / "cmdline").write_text("".join(f"{word}\0" for word in command.split()))

    def run_service(self, number: int, half: str, text: str, *, where: str = OWN) -> None:
        """Have a half that systemd gave a copy of *text*."""
        self.run(number, f"trafficd {half} --config /run/credentials/of-{half}/a.yml", where=where)
        root = self.place.parent / f"root-of-{number}"
        copy = root / "run" / "credentials" / f"of-{half}" / "a.yml"
        copy.parent.mkdir(parents=True)
        copy.write_text(text)
        (self.place / str(number) / "root").unlink()
        (self.place / str(number) / "root").symlink_to(root)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(proc, "PROC", tmp_path / "proc")
    return Machine(tmp_path / "proc")


def test_halves_of_an_agent_are_found_by_the_file(machine: Machine, config: Path) -> None:
    for number, command in enumerate(("agent", "reader", "exporter"), start=10):
        machine.run(number, f"trafficd {command} --config {config}", 10 if number > 10 else 1)

    assert find_halves(config, agent=None) == Found(11, 12, 10, is_as_given=True)


def test_services_are_found_by_the_text_or_where_there_is_none_by_the_place(
    machine: Machine, config: Path
) -> None:
    machine.run_service(11, "reader", TEXT)
    machine.run_service(12, "exporter", TEXT)
    as_given = find_halves(config, agent=None)
    config.write_text("window: 2h\n")

    assert as_given == Found(11, 12, 0, is_as_given=True)
    assert find_halves(config, agent=None) == Found(11, 12, 0, is_as_given=False)


def test_what_was_given_another_text_or_runs_in_a_container_is_passed_by(
    machine: Machine, config: Path
) -> None:
    for half, number in (("reader", 11), ("exporter", 12)):
        machine.run(number, f"trafficd {half} --config {config}", 10)
        machine.run_service(number + 10, half, "window: 2h\n")
        machine.run_service(number + 20, half, TEXT, where=OF_A_CONTAINER)

    assert find_halves(config, agent=None) == Found(11, 12, 0, is_as_given=True)


def test_services_and_an_agent_of_one_text_are_told_apart_by_who_started_them(
    machine: Machine, config: Path
) -> None:
    machine.run(10, f"trafficd agent --config {config}")
    for half, number in (("reader", 11), ("exporter", 12)):
        machine.run(number, f"trafficd {half} --config {config}", 10)
        machine.run_service(number + 10, half, TEXT)

    with pytest.raises(TrafficdError, match="name who started them by --pid: 1, 10"):
        find_halves(config, agent=None)
    assert find_halves(config, agent=1) == Found(21, 22, 0, is_as_given=True)
    assert find_halves(config, agent=10) == Found(11, 12, 10, is_as_given=True)
