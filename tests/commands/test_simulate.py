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


def simulate(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    config, schedule = tmp_path / "agent.yml", tmp_path / "schedule.jsonl"
    config.write_text(CONFIG)
    schedule.write_text(text)
    command = [sys.executable, "-m", "trafficd", "simulate", "--config", str(config), str(schedule)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_schedule_is_published_on_the_grid(tmp_path: Path) -> None:
    events = [
        line(1000, "new", 2, "eth0", 7 * MIB, 7 * MIB),
        line(1000, "new", 5, "ppp0", 0, 0),
        line(2000, "counters", 5, "ppp0", 3 * MIB + 5, MIB),
        line(3600, "gone", 5, "ppp0", 4 * MIB, MIB),
        line(3601, "counters", 2, "eth0", 9 * MIB, 17 * MIB),
        line(10800, "new", 5, "ppp1", 0, 0),
    ]

    done = simulate(tmp_path, "\n".join(map(json.dumps, events)))

    nothing = {"receive": 0, "transmit": 0}
    ppp = {"receive": 4 * MIB, "transmit": MIB}
    uplink = {"receive": 2 * MIB, "transmit": 10 * MIB}
    classes = {"l2tp": ppp, "wireguard": nothing}
    assert [json.loads(text) for text in done.stdout.splitlines()] == [
        {"at": 3600, "node": {"uplink": nothing, "tunnel": ppp}, "classes": classes},
        {"at": 7200, "node": {"uplink": uplink, "tunnel": ppp}, "classes": classes},
        {"at": 10800, "node": {"uplink": uplink, "tunnel": ppp}, "classes": classes},
    ]
    assert (done.returncode, done.stderr) == (0, "")


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
        st.sampled_from(["ppp0", "eth0", "wg0"]),
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
    releases = list(replay(parse_config(CONFIG), recording))

    first, last = events[0]["at"], events[-1]["at"]
    assert [each.at for each in releases] == list(
        range((first // 3600 + 1) * 3600, last // 3600 * 3600 + 1, 3600)
    )
    for release in releases:
        for name, totals in (("eth0", release.uplink), ("ppp0", dict(release.classes)["l2tp"])):
            ended = [s for s in sessions if s[4] == name and s[0] + s[1] <= release.at]
            assert totals.rx_bytes == sum(s[2] for s in ended) // MIB * MIB
            assert totals.tx_bytes == sum(s[3] for s in ended) // MIB * MIB
