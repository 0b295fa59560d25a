"""The process that computes plans: a question a line, and an answer or a sentence to each."""

import io
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from tests.commands.planned import LAST, SPAN
from trafficd.collector.store import Store
from trafficd.demo.fleet import made_up
from trafficd.demo.history import fill
from trafficd.planning import worker
from trafficd.planning.questions import LENGTH_BYTES, Question, Reply, Settings


def test_questions_are_answered_and_a_plan_that_is_as_before_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "collector.db"
    with closing(Store(path)) as store:
        fill(store, made_up(2, 2), SPAN)
    day = LAST - timedelta(days=1)

    plan, same, other, supposed, refused = answers(
        monkeypatch,
        path,
        Question(LAST),
        Question(LAST),
        Question(day),
        Question(LAST, [("add", "site-1:10Gbit")]),
        Question(LAST, [("add", "par:10Gbit")]),
    )

    assert plan.plan is not None
    assert plan.plan.as_of == LAST
    assert (plan.plan.lead_days, plan.plan.thresholds) == (45, [0.6, 0.75])
    assert same == Reply()
    assert other.plan is not None
    assert other.plan.as_of == day
    assert supposed.what_if is not None
    after = {each.name: each.capacity_bits_per_second for each in supposed.what_if.after}
    assert after == {"site-1": 20e9, "site-2": 10e9}
    assert refused == Reply(error="'par': no such location; there are site-1, site-2")


def test_a_file_that_is_not_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (reply,) = answers(monkeypatch, tmp_path / "nowhere.db", Question(LAST))

    assert reply == Reply(error=f"{tmp_path / 'nowhere.db'}: no such file")


def answers(monkeypatch: pytest.MonkeyPatch, path: Path, *questions: Question) -> list[Reply]:
    """Return what is answered to *questions*."""
    settings = msgspec.json.encode(Settings(str(path), (0.6,), 0.75, 45)).decode()
    asked = b"".join(msgspec.json.encode(each) + b"\n" for each in questions)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["worker", settings])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(asked)))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    # Of this process both would stay as they are made.
    monkeypatch.setattr("os.nice", lambda by: by)
    monkeypatch.setattr(Path, "write_text", lambda *_: 0)

    worker.main()

    written.seek(0)
    replies = []
    while length := written.read(LENGTH_BYTES):
        body = written.read(int.from_bytes(length, "big"))
        replies.append(msgspec.json.decode(body, type=Reply))
    return replies
