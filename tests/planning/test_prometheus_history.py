from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.collector.storing import said
from tests.planning.alike import assert_same_days, assert_same_windows
from tests.planning.engine import Engine, pushed, scraped, serving
from tests.system.planning.pushing import DAY, HOUR, Sender
from trafficd.collector.store import Store
from trafficd.errors import HistoryError
from trafficd.planning.day_table import day_numbered
from trafficd.planning.prometheus_history import PrometheusHistory
from trafficd.planning.sqlite_history import SqliteHistory
from trafficd.releases import Release, Totals
from trafficd.series import series_of

FIRST = 20_000
BEGIN = FIRST * DAY
DAYS = 6
UNTIL = day_numbered(FIRST + DAYS - 1)
END = BEGIN + DAYS * DAY
STEADY = Sender("fra-1.example", "frankfurt", (-30,), DAYS * 24)
HARD = Sender(
    "ams-1", "amsterdam", (5, 40, 44, 100), DAYS * 24, away=(range(60, 87), range(110, 112))
)
# Its second run begins and has moved more than the first before anybody hears of it.
UNHEARD = Sender("lon-1", "london", (0, 25), DAYS * 24, away=(range(20, 70),))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with serving(Engine(now=END + 600)) as served:
        yield served


def history(engine: Engine) -> PrometheusHistory:
    return PrometheusHistory(engine.url, most_days=40, timeout_seconds=10)


def collected(path: Path, sent: dict[Sender, list[Release]]) -> SqliteHistory:
    """The history of a collector that has the same releases."""
    store = Store(path / "history.db")
    for number, (sender, releases) in enumerate(sent.items(), 1):
        store.add_node(sender.name, sender.location, sender.name.encode().ljust(32))
        slices = [said(release.at, dict(series_of(release))) for release in releases]
        assert set(store.append([(number, [each]) for each in slices])) == {None}
    store.close()
    return SqliteHistory(path / "history.db")


Hold = Callable[[Engine, Sender], list[Release]]


def as_pushed(engine: Engine, sender: Sender) -> list[Release]:
    return pushed(engine, sender, BEGIN)


def as_scraped(engine: Engine, sender: Sender) -> list[Release]:
    return scraped(engine, sender, BEGIN, 600)


def as_scraped_seldom(engine: Engine, sender: Sender) -> list[Release]:
    return scraped(engine, sender, BEGIN, 1500)


@pytest.mark.parametrize("hold", [as_pushed, as_scraped, as_scraped_seldom])
def test_pushed_or_scraped_it_is_what_the_collector_says(
    engine: Engine, tmp_path: Path, hold: Hold
) -> None:
    sent = {sender: hold(engine, sender) for sender in (STEADY, HARD, UNHEARD)}
    ours = collected(tmp_path, sent)

    assert_same_days(history(engine).days(UNTIL), ours.days(UNTIL))
    for since, until in ((BEGIN, END), (BEGIN + 30 * HOUR, BEGIN + 119 * HOUR)):
        assert_same_windows(history(engine).windows(since, until), ours.windows(since, until))


def test_a_node_that_was_there_within_a_day_alone_has_that_day(
    engine: Engine, tmp_path: Path
) -> None:
    sender = Sender("ams-2", "amsterdam", (28,), 40)
    ours = collected(tmp_path, {sender: pushed(engine, sender, BEGIN)})

    (found,) = history(engine).days(UNTIL)

    assert (found.first, found.days) == (day_numbered(FIRST + 1), 1)
    assert_same_days([found], ours.days(UNTIL))


def test_windows_that_were_shorter_or_longer_once_are_read_as_they_were(
    engine: Engine, tmp_path: Path
) -> None:
    sent = {}
    for name, before, after in (("fra-1", 1800, 7200), ("fra-2", 7200, 1800)):
        first = Sender(name, "frankfurt", (-30,), 80, window=before)
        second = Sender(name, "frankfurt", (80,), DAYS * 24, window=after)
        sent[second] = pushed(engine, first, BEGIN) + pushed(engine, second, BEGIN)
    ours = collected(tmp_path, sent)

    found = history(engine).days(UNTIL)

    assert [each.window_seconds for each in found] == [7200, 1800]
    assert_same_days(found, ours.days(UNTIL))
    assert_same_windows(
        history(engine).windows(BEGIN, END), ours.windows(BEGIN, END)
    )  # fmt: skip


def test_what_is_asked_for_is_asked_for_in_pieces(engine: Engine) -> None:
    for number in range(70):
        sender = Sender(f"fra-{number}", "frankfurt", (-30,), 24, window=DAY, classes=((),))
        pushed(engine, sender, BEGIN)
    engine.asked.clear()

    days = PrometheusHistory(engine.url, most_days=60).days(UNTIL)
    windows = history(engine).windows(BEGIN - 2 * DAY, END)

    assert len(days) == len(windows) == 70
    assert all(each.get("nocache") == "1" for each in engine.asked if "step" in each)
    ranges = [each for each in engine.asked if "step" in each]
    points = [(int(each["end"]) - int(each["start"])) // int(each["step"]) for each in ranges]
    assert max(points) < 720
    named = [each["query"].partition("}")[0].count("|fra") for each in ranges]
    assert max(named) == 49


def test_a_release_that_one_answer_has_and_the_next_has_not_is_no_gap(engine: Engine) -> None:
    pushed(engine, STEADY, BEGIN)

    def without_a_day(query: str, own: dict[str, Any]) -> object:
        if "capacity" in query:
            for line in own["data"]["result"]:
                del line["values"][3:]
        return own

    engine.answer = without_a_day
    with pytest.raises(HistoryError, match=r"node fra-1\.example: .* leaves some out"):
        history(engine).days(UNTIL)


def test_two_series_of_a_node_are_refused_and_one_after_the_other_are_not(engine: Engine) -> None:
    releases = pushed(engine, STEADY, BEGIN)
    expected = history(engine).days(UNTIL)
    engine.samples.clear()
    labels = {"node": STEADY.name, "location": "frankfurt"}
    for release in releases:
        place = "old" if release.at < BEGIN + 50 * HOUR else "new"
        engine.take(release.at, release, instance=place, **labels)
    assert_same_days(history(engine).days(UNTIL), expected)

    for release in releases:
        engine.take(release.at, release, replica="b", **labels)

    for ask in (lambda: history(engine).days(UNTIL), lambda: history(engine).windows(BEGIN, END)):
        with pytest.raises(HistoryError, match=r"node fra-1\.example: two series of the same name"):
            ask()


@pytest.mark.parametrize("lacking", ["node", "location"])
def test_series_without_the_labels_of_a_target_say_what_to_do(engine: Engine, lacking: str) -> None:
    labels = {"node": "fra-1", "location": "frankfurt", "instance": "10.0.0.1:9787"}
    del labels[lacking]
    release = Release(BEGIN + HOUR, BEGIN, 0, Totals(), Totals(), ())
    engine.take(BEGIN + HOUR, release, **labels)

    said = rf"10\.0\.0\.1:9787.* without the label {lacking}: .* labels of its target"
    with pytest.raises(HistoryError, match=said):
        history(engine).days(UNTIL)


def test_an_engine_that_holds_nothing_has_no_nodes(engine: Engine) -> None:
    assert history(engine).days(UNTIL) == []
    assert history(engine).windows(BEGIN, END) == []


def test_a_release_off_the_grid_is_refused(engine: Engine) -> None:
    pushed(engine, STEADY, BEGIN)
    for labels, samples in engine.samples.items():
        if dict(labels)["__name__"] == "trafficd_release_timestamp_seconds":
            samples[:] = [(at, value - 7) for at, value in samples]

    with pytest.raises(HistoryError, match="off the grid"):
        history(engine).windows(BEGIN, END)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"node": "lon-1"}, "node 'lon-1': was not asked for"),
        ({"__name__": "up"}, "a series that no node releases: 'up'"),
    ],
)
def test_an_answer_about_something_else_is_refused(
    engine: Engine, changed: dict[str, str], said: str
) -> None:
    pushed(engine, STEADY, BEGIN)

    def other(query: str, own: dict[str, Any]) -> object:
        if "__name__" in query:
            own["data"]["result"][0]["metric"].update(changed)
        return own

    engine.answer = other
    with pytest.raises(HistoryError, match=said):
        history(engine).days(UNTIL)


def test_an_engine_whose_answers_name_no_releases_of_a_day_has_no_such_day(engine: Engine) -> None:
    pushed(engine, STEADY, BEGIN)

    def uncounted(query: str, own: dict[str, Any]) -> object:
        return {**own, "data": {**own["data"], "result": []}} if "count" in query else own

    engine.answer = uncounted
    assert history(engine).days(UNTIL) == []


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_a_node_that_moved_is_where_it_is_now(
    engine: Engine, tmp_path: Path, is_newest_first: bool
) -> None:
    sent = pushed(Engine(now=END), STEADY, BEGIN)
    for release in sent:
        place = "before" if release.at <= BEGIN + 3 * DAY else "now"
        engine.take(release.at, release, node="fra-1", location=place)
    ours = collected(tmp_path, {replace(STEADY, name="fra-1", location="now"): sent})

    def ordered(_: str, own: Any) -> object:
        # Engines tell series in an order of their own.
        if is_newest_first:
            own["data"]["result"].reverse()
        return own

    engine.answer = ordered
    found = history(engine).days(UNTIL)

    assert [each.location for each in found] == ["now"]
    assert_same_days(found, ours.days(UNTIL))
