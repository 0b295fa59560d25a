"""trafficd simulate, as a process: the schedule's bytes, published on the grid."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trafficd.config import parse_config
from trafficd.kernel.recorded import read_recording
from trafficd.reader.replay import replay
from trafficd.schema import UTILISATION_BOUNDS

MIB = 1024 * 1024
CONFIG = """
window: 1h
links:
  - {name: "eth*", role: uplink}
  - {name: "ppp*", class: l2tp, population: per-session}
  - {name: "wg*", class: wireguard, population: shared}
"""


def line(at: float, event: str, ifindex: int, link: str, rx: int, tx: int) -> dict[str, Any]:
    return {
        "at": at,
        "event": event,
        "ifindex": ifindex,
        "link": link,
        "rx_bytes": rx,
        "tx_bytes": tx,
    }


def simulate(
    tmp_path: Path, text: str, *options: str, config: str = CONFIG
) -> subprocess.CompletedProcess[str]:
    file, schedule = tmp_path / "agent.yml", tmp_path / "schedule.jsonl"
    file.write_text(config)
    schedule.write_text(text)
    command = [sys.executable, "-m", "trafficd", "simulate", "--config", str(file)]
    command += [*options, str(schedule)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_schedule_is_published_on_the_grid(tmp_path: Path) -> None:
    events = [
        line(1000, "new", 2, "eth0", 7 * MIB, 7 * MIB),
        line(1000, "new", 5, "wg0", 0, 0),
        line(2000, "counters", 5, "wg0", 3 * MIB + 5, MIB),
        line(3600, "gone", 5, "wg0", 4 * MIB, MIB),
        line(3601, "counters", 2, "eth0", 9 * MIB, 17 * MIB),
        line(10800, "new", 5, "wg1", 0, 0),
    ]

    done = simulate(tmp_path, "\n".join(map(json.dumps, events)))

    nothing = {"receive": 0, "transmit": 0}
    wireguard = {"receive": 4 * MIB, "transmit": MIB}
    uplink = {"receive": 2 * MIB, "transmit": 10 * MIB}
    classes = {"l2tp": nothing, "wireguard": wireguard}
    slots: dict[str, dict[str, int]] = {"receive": {}, "transmit": {}}
    expected = [
        {"at": 3600, "node": {"uplink": nothing, "tunnel": wireguard}, "classes": classes},
        {"at": 7200, "node": {"uplink": uplink, "tunnel": wireguard}, "classes": classes},
        {"at": 10800, "node": {"uplink": uplink, "tunnel": wireguard}, "classes": classes},
    ]
    assert [json.loads(text) for text in done.stdout.splitlines()] == [
        {**each, "utilisation": slots} for each in expected
    ]
    assert (done.returncode, done.stderr) == (0, "")


def crowd(at: int, moved: int, count: int = 10, first: int = 100) -> list[dict[str, Any]]:
    """Return *count* sessions that open at *at*, move as much each, and close a minute later."""
    numbers = range(first, first + count)
    return [
        *(line(at, "new", number, f"ppp{number}", 0, 0) for number in numbers),
        *(line(at + 60, "gone", number, f"ppp{number}", moved, moved) for number in numbers),
    ]


def test_explain_says_of_each_grid_point_why_each_cell_passed_or_was_held(tmp_path: Path) -> None:
    events = [
        line(1000, "new", 2, "eth0", 0, 0),
        *crowd(2000, 2 * MIB, count=9),
        *crowd(5000, 2 * MIB, count=10),
        *crowd(9000, 2 * MIB, count=10, first=200),
        line(9000, "new", 300, "ppp300", 0, 0),
        line(9060, "gone", 300, "ppp300", 30 * MIB, 0),
        line(14400, "counters", 2, "eth0", MIB, MIB),
    ]

    events.sort(key=lambda event: float(event["at"]))
    done = simulate(tmp_path, "\n".join(map(json.dumps, events)), "--explain")

    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert [each["explain"]["node"]["cell"] for each in lines] == [
        "withheld", "released", "withheld", "withheld",
    ]  # fmt: skip
    assert [each["explain"]["node"]["contributors"] for each in lines] == [9, 10, 11, 11]
    assert lines[0]["explain"]["classes"]["why"] == "held by l2tp"
    assert "too few" in lines[0]["explain"]["node"]["why"]
    assert "more than half" in lines[2]["explain"]["node"]["why"]
    assert lines[1]["classes"]["l2tp"] == {"receive": 38 * MIB, "transmit": 38 * MIB}
    # Withheld is not said in what would leave: the totals stand still.
    assert [each["node"]["tunnel"]["receive"] // MIB for each in lines] == [0, 38, 38, 38]


def test_without_explain_nothing_tells_that_a_cell_was_withheld(tmp_path: Path) -> None:
    few = simulate(tmp_path, "\n".join(map(json.dumps, crowd(1000, MIB, 3) + crowd(9000, 0))))
    nobody = simulate(tmp_path, "\n".join(map(json.dumps, crowd(1000, 0, 3) + crowd(9000, 0))))

    assert few.stdout == nobody.stdout
    assert few.stdout.count("\n") == 2


def test_a_day_of_slots_is_published_at_midnight_and_then_only(tmp_path: Path) -> None:
    # Half an hour at 40 % of 1 Gbit/s received and 10 % sent, then nothing, until after midnight.
    slot_bytes = 10**9 * 300 // 8
    begin, midnight = 24 * 3600 - 2 * 3600, 24 * 3600
    events = [line(begin, "new", 2, "eth0", 0, 0)]
    for number in range(1, 25):
        busy = min(number, 6)
        events.append(
            line(begin + 300 * number, "counters", 2, "eth0",
                 busy * slot_bytes * 40 // 100, busy * slot_bytes * 10 // 100)
        )  # fmt: skip
    events.append(line(midnight + 3600, "counters", 2, "eth0", 6 * slot_bytes * 40 // 100,
                       6 * slot_bytes * 10 // 100))  # fmt: skip
    config = CONFIG.replace("role: uplink", "role: uplink, capacity: 1Gbit")

    done = simulate(tmp_path, "\n".join(map(json.dumps, events)), config=config)

    lines = [json.loads(text) for text in done.stdout.splitlines()]
    counted = {"receive": {"0.4": 6, "0.05": 18}, "transmit": {"0.1": 6, "0.05": 18}}
    assert "0.4" in UTILISATION_BOUNDS
    assert [(each["at"], each["utilisation"]) for each in lines] == [
        (midnight - 3600, {"receive": {}, "transmit": {}}),
        (midnight, counted),
        (midnight + 3600, counted),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", ":1: "),
        ('{"at": 1, "event": "new"}', ":1: Object missing required field `ifindex`"),
        (json.dumps(line(1, "born", 1, "ppp0", 0, 0)), ":1: Invalid enum value 'born'"),
        (json.dumps(line(1, "new", 1, "ppp0", -1, 0)), ":1: Expected `int` >= 0"),
        (json.dumps(line(1, "new", 1, "ppp0", 0, 0) | {"mac": "x"}), ":1: Object contains unknown"),
        (json.dumps(line(1, "gone", 1, "ppp0", 0, 0)), ":1: gone of ifindex 1, which no line"),
        (
            "\n".join(
                json.dumps(line(1, event, 1, name, 0, 0))
                for event, name in (("new", "ppp0"), ("gone", "eth0"))
            ),
            ":2: ifindex 1 is ppp0 here, not eth0; a rename is a line with new",
        ),
        (
            "\n".join(json.dumps(line(at, "new", 1, "ppp0", 0, 0)) for at in (5, 4)),
            ":2: at 4 is before 5; sort it",
        ),
        (
            "\n".join(
                json.dumps(line(1, event, 1, "ppp0", 0, 0)) for event in ("new", "gone", "counters")
            ),
            ":3: counters of ifindex 1, which no line announced with new",
        ),
    ],
)
def test_a_line_that_cannot_be_stops_it_with_its_number(
    tmp_path: Path, text: str, told: str
) -> None:
    done = simulate(tmp_path, text)

    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_empty_schedule_publishes_nothing(tmp_path: Path) -> None:
    done = simulate(tmp_path, "\n\n")

    assert (done.returncode, done.stdout) == (0, "")


_sessions = st.lists(
    st.tuples(
        st.integers(0, 40_000),  # opens
        st.integers(1, 20_000),  # lives
        st.integers(0, 50 * MIB),
        st.integers(0, 50 * MIB),
        st.sampled_from(["eth0", "wg0"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(_sessions)
def test_published_totals_are_the_sessions_that_have_ended_and_the_rest_rounded_down(
    sessions: list[tuple[int, int, int, int, str]],
) -> None:
    events = sorted(
        (
            event
            for ifindex, (opens, lives, rx, tx, name) in enumerate(sessions, start=1)
            for event in (
                line(opens, "new", ifindex, name, 11, 22),
                line(opens + lives, "gone", ifindex, name, 11 + rx, 22 + tx),
            )
        ),
        key=lambda event: float(event["at"]),
    )

    recording = read_recording((json.dumps(event).encode() for event in events), source="test")
    releases = [each.release for each in replay(parse_config(CONFIG), recording)]

    first, last = events[0]["at"], events[-1]["at"]
    assert [each.at for each in releases] == list(
        range((first // 3600 + 1) * 3600, last // 3600 * 3600 + 1, 3600)
    )
    for release in releases:
        for name, totals in (("eth0", release.uplink), ("wg0", dict(release.classes)["wireguard"])):
            ended = [s for s in sessions if s[4] == name and s[0] + s[1] <= release.at]
            assert totals.rx_bytes == sum(s[2] for s in ended) // MIB * MIB
            assert totals.tx_bytes == sum(s[3] for s in ended) // MIB * MIB
