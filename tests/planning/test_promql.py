import base64
import json
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.planning.engine import Engine, serving
from trafficd.errors import HistoryError
from trafficd.planning.access import Access
from trafficd.planning.prometheus_history import PrometheusHistory

DAY = date(2026, 11, 24)
LABELS = {"node": "fra-1", "location": "fra"}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with serving(Engine(now=1_800_000_000)) as served:
        yield served


def ask(engine: Engine, access: Access | None = None, path: str = "") -> None:
    PrometheusHistory(engine.url + path, access=access, most_days=2).days(DAY)


def success(result: object, **more: object) -> object:
    data = {"resultType": "matrix", "result": result}
    return (200, json.dumps({"status": "success", "data": data, **more}).encode())


def failure(status: int, error: str) -> object:
    return (status, json.dumps({"status": "error", "error": error}).encode())


def value(number: str) -> object:
    # The end of the day before DAY, when the shortest window is over.
    at = 1_795_478_400 + 299
    metric: dict[str, str] = {"__name__": "x", **LABELS}
    return success([{"metric": metric, "values": [[at, number]]}])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (failure(422, "query too long\nmore"), r"could not answer \(422\): query too long$"),
        (failure(400, "parse error"), r"could not answer \(400\): parse error"),
        (failure(503, "shutting down"), r"could not answer now \(503\): shutting down"),
        ((503, b"<html>\nno"), r"could not answer now \(503\): <html>$"),
        ((401, b""), r"does not let us in \(401\): give a user, a token"),
        ((403, b"no tenant \x1b[31m"), r"\(403\): .*header: no tenant \?\[31m$"),
        ((404, b"404 page"), r"no PromQL there \(404\): give the address that stands before"),
        ((302, b""), r"sends us elsewhere \(302\)"),
        ((200, b"<html>hello</html>"), "no answer of a PromQL engine"),
        ((200, b"{}"), "no answer of a PromQL engine"),
        ((200, b"\xff\xfe"), "no answer of a PromQL engine"),
        ((200, b'{"status": "success"}'), "no matrix in it"),
        (failure(200, "odd"), "could not answer: odd"),
        (success({"a": 1}), "no answer of a PromQL engine"),
        (success([{"metric": {}, "values": [[1]]}]), "no answer of a PromQL engine"),
        (success([], warnings=["a store\nis away"]), "not all of it: a store"),
        (success([], isPartial=True), "not all of it"),
        (value("NaN"), "x of node fra-1 is nan, which no node releases"),
        (value("+Inf"), "x of node fra-1 is inf"),
        (value("-1"), "x of node fra-1 is -1.0"),
        (value("many"), "'many' for a number"),
        (value("1_000"), "'1_000' for a number"),
        (success([{"metric": LABELS, "values": [[1.0, "1"]]}]), "for other times"),
    ],
)
def test_an_answer_that_is_none_is_said_in_one_sentence(
    engine: Engine, answer: object, said: str
) -> None:
    engine.answer = lambda _, __: answer

    with pytest.raises(HistoryError, match=said) as raised:
        ask(engine)

    assert str(raised.value).startswith(f"{engine.url}/api/v1: ")
    assert "\n" not in str(raised.value)


def test_who_is_not_there_or_does_not_answer_is_said(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(HistoryError, match=r"no answer within 0\.1 s"):
            PrometheusHistory(url, timeout_seconds=0.1).days(DAY)
    with pytest.raises(HistoryError, match="cannot be asked"):
        PrometheusHistory(url).days(DAY)


def test_an_answer_without_an_end_is_cut(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trafficd.planning.promql._MOST_BYTES", 1000)
    engine.answer = lambda _, __: (200, b" " * 2000)

    with pytest.raises(HistoryError, match="answered more than"):
        ask(engine)


def test_what_is_asked_shows_who_asks(engine: Engine, tmp_path: Path) -> None:
    user, token = tmp_path / "user", tmp_path / "token"
    user.write_text("planner:pass:word\n")
    token.write_text("abc.def\n")

    ask(engine, Access(user_file=user, headers={"X-Scope-OrgID": "fleet"}))
    ask(engine, Access(bearer_token_file=token))

    logged_in = base64.b64encode(b"planner:pass:word").decode()
    assert engine.headers[0]["Authorization"] == f"Basic {logged_in}"
    assert engine.headers[0]["X-Scope-OrgID"] == "fleet"
    assert engine.headers[-1]["Authorization"] == "Bearer abc.def"


@pytest.mark.parametrize("path", ["", "/", "/api/v1", "/api/v1/"])
def test_an_address_may_end_where_it_likes(engine: Engine, path: str) -> None:
    ask(engine, path=path)

    assert engine.asked


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("fra:9090", "has to be an address like http://"),
        ("http://", "has to be an address like http://"),
        ("http://h:port", "has to be an address like http://"),
        ("http://me:secret@h:9090", "a user or password, which a file should"),
    ],
)
def test_an_address_that_is_none_is_said(url: str, said: str) -> None:
    with pytest.raises(HistoryError, match=said) as raised:
        PrometheusHistory(url)

    assert "secret" not in str(raised.value)


def test_a_file_that_cannot_be_shown_is_said(tmp_path: Path) -> None:
    file, missing = tmp_path / "file", tmp_path / "missing"

    for content, access, said in (
        (b"word", Access(user_file=file), "write one line, user:password"),
        (b"", Access(bearer_token_file=file), "expected one line"),
        (b"two words", Access(bearer_token_file=file), "one token of plain ASCII"),
        (b"a:b\nc:d", Access(user_file=file), "expected one line"),
        (b"\xff", Access(user_file=file), "not UTF-8"),
        (b"a:b", Access(user_file=file, bearer_token_file=file), "keep one of them"),
        (b"a:b", Access(user_file=missing), "missing: cannot be read: No such file"),
        (b"a:b", Access(ca_file=missing), "missing: cannot be used: No such file"),
        (b"a:b", Access(ca_file=file), "file: cannot be used"),
    ):
        file.write_bytes(content)
        with pytest.raises(HistoryError, match=said):
            PrometheusHistory("http://localhost:9090", access=access)
