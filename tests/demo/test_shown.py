"""What the demo shows: a table on a terminal, lines elsewhere."""

import io
from dataclasses import replace

from rich.console import Console
from rich.live import Live

from trafficd.demo.lines import Lines
from trafficd.demo.observer import View
from trafficd.demo.page import Published
from trafficd.demo.table import LiveTable
from trafficd.demo.truth import Truth
from trafficd.releases import Totals

MIB = 1 << 20
VIEW = View(
    name="fra-1",
    address="http://127.0.0.1:9791/metrics",
    published=Published(1_700_000_400, Totals(5 * MIB, 6 * MIB), Totals(7 * MIB, 8 * MIB)),
    then=Truth(
        1_700_000_400,
        Totals(6 * MIB - 1, 6 * MIB + 1),
        Totals(7 * MIB + 7, 8 * MIB + 8),
        sessions_opened=40,
        sessions_open=14,
    ),
    latest=None,
)


def test_a_release_is_one_line() -> None:
    written: list[str] = []
    lines = Lines(written.append)

    lines.show(0.0, [VIEW])
    lines.show(0.0, [VIEW])

    (line,) = written
    assert line == (
        "release=2023-11-14T22:20Z node=fra-1"
        " uplink_receive_bytes=5242880 uplink_transmit_bytes=6291456"
        " tunnel_receive_bytes=7340032 tunnel_transmit_bytes=8388608"
        " truth_uplink_receive_bytes=6291455 truth_uplink_transmit_bytes=6291457"
        " truth_tunnel_receive_bytes=7340039 truth_tunnel_transmit_bytes=8388616"
        " sessions_opened=40 sessions_gone=26"
    )


def test_a_line_has_no_truth_that_is_not_known() -> None:
    written: list[str] = []

    Lines(written.append).show(0.0, [replace(VIEW, then=None)])

    assert len(written) == 1
    assert "truth" not in written[0]


def test_nothing_is_written_before_the_first_release() -> None:
    written: list[str] = []
    zeros = Published(0, Totals(), Totals())

    Lines(written.append).show(0.0, [replace(VIEW, published=zeros), replace(VIEW, published=None)])

    assert written == []


def test_what_is_waited_for_is_one_line_until_it_is_there() -> None:
    written: list[str] = []
    lines = Lines(written.append)

    for percent in range(3):
        lines.note("loading", percent)
    lines.note("loaded")

    assert written == ["loading", "loaded"]


def test_the_table_says_how_far_it_is() -> None:
    assert "loading: 40 %" in table_of(VIEW, note=("loading", 40))
    assert "loaded" in table_of(VIEW, note=("loaded", None))


def test_the_table_fits_a_terminal_of_80_columns_and_rounds_nothing_up() -> None:
    shown = table_of(VIEW)

    (release,) = [line for line in shown if "metrics" in line]
    (truth,) = [line for line in shown if "truth at 22:20" in line]
    assert release.split() == ["fra-1", VIEW.address, "5", "6", "7", "8"]
    assert truth.split() == ["truth", "at", "22:20", "5.99", "6.00", "7.00", "8.00"]
    assert max(map(len, shown)) <= 80


def table_of(view: View, *, note: tuple[str, int | None] | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    table = LiveTable(Live(console=console, auto_refresh=False), 300, 60.0)
    if note is not None:
        table.note(*note)
    table.begin("trafficd demo", [view])
    shown = io.StringIO()
    # What a live display draws last is all there is of it where there is no terminal.
    console.file = shown
    with table._live:
        pass
    return shown.getvalue().splitlines()
