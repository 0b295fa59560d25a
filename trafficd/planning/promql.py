"""Asks an engine that answers the HTTP API of Prometheus, and takes no answer that is not whole.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/. Thanos says with warnings, and
VictoriaMetrics with isPartial, that some of their stores were not asked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Literal, Self

import msgspec
import numpy as np
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from trafficd.errors import HistoryError
from trafficd.planning.access import Access, authorization, tls
from trafficd.planning.daily import Days, Floats

# Chosen: what is asked for at once is some megabytes.
_MOST_BYTES = 128 << 20
_PIECE_BYTES = 1 << 20
_LONGEST_WORDS = 200
_API = "/api/v1"
# How engines write numbers; not the digits of other scripts, which Python reads as well.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|Inf)|NaN", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """A series of an answer.

    Units: *at* is UTC seconds.
    """

    labels: Mapping[str, str]
    at: Days
    values: Floats


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Data(msgspec.Struct):
    result_type: str = msgspec.field(name="resultType")
    result: list[_Series]


class _Answer(msgspec.Struct):
    status: Literal["success", "error"]
    data: _Data | None = None
    error: str = ""
    warnings: list[str] | None = None
    is_partial: bool = msgspec.field(name="isPartial", default=False)


_DECODER = msgspec.json.Decoder(_Answer)


class Promql:
    """An engine at an address."""

    def __init__(self, url: str, access: Access, timeout_seconds: float) -> None:
        """Read what it is shown, and ask nothing yet.

        Raises: HistoryError if the address or a file of *access* cannot be.
        """
        self._url = _checked(url)
        self._headers = {**access.headers, **authorization(access)}
        self._tls = tls(access)
        self._timeout = ClientTimeout(total=timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._session: ClientSession

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            timeout=self._timeout, headers=self._headers, cookie_jar=DummyCookieJar()
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def now(self, query: str) -> list[Line]:
        """Return what *query* says at the engine's present."""
        return await self._ask("query", "vector", {"query": query})

    async def at_each(self, query: str, first: int, last: int, step: int) -> list[Line]:
        """Return what *query* says at *first*, and then each *step* until *last*."""
        # What VictoriaMetrics has cached it says for multiples of the step only.
        asked = {"query": query, "start": first, "end": last, "step": step, "nocache": 1}
        lines = await self._ask("query_range", "matrix", asked)
        for line in lines:
            if ((line.at - first) % step).any() or not _is_within(line.at, first, last):
                raise HistoryError(f"{self._url}: answered for other times than was asked for")
        return lines

    async def _ask(self, call: str, kind: str, asked: Mapping[str, object]) -> list[Line]:
        answer = await self._answer(call, asked)
        if answer.warnings:
            raise HistoryError(f"{self._url}: not all of it: {_printable(answer.warnings[0])}")
        if answer.is_partial:
            raise HistoryError(f"{self._url}: not all of it: some of its stores did not answer")
        if answer.data is None or answer.data.result_type != kind:
            raise HistoryError(f"{self._url}: no answer of a PromQL engine: no {kind} in it")
        try:
            return [_line(each) for each in answer.data.result]
        except ValueError as error:
            raise HistoryError(f"{self._url}: {error}") from error

    async def _answer(self, call: str, asked: Mapping[str, object]) -> _Answer:
        form = {name: str(value) for name, value in asked.items()}
        try:
            async with self._session.post(
                self._url.joinpath(call), data=form, ssl=self._tls, allow_redirects=False
            ) as response:
                body = await self._body(response)
                return self._read(response.status, body)
        except TimeoutError as error:
            seconds = f"{self._timeout_seconds:g}"
            raise HistoryError(f"{self._url}: no answer within {seconds} s") from error
        except (ClientError, OSError) as error:
            reason = _printable(str(error)) or type(error).__name__
            raise HistoryError(f"{self._url}: cannot be asked: {reason}") from error

    async def _body(self, response: ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_chunked(_PIECE_BYTES):
            body += piece
            if len(body) > _MOST_BYTES:
                raise HistoryError(f"{self._url}: answered more than {_MOST_BYTES >> 20} MiB")
        return bytes(body)

    def _read(self, status: int, body: bytes) -> _Answer:
        try:
            answer = _DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if status == HTTPStatus.OK:
                said = f"no answer of a PromQL engine: {_printable(str(error))}"
                raise HistoryError(f"{self._url}: {said}") from error
            answer = _Answer("error", error=body[:_PIECE_BYTES].decode(errors="replace"))
        if status == HTTPStatus.OK and answer.status == "success":
            return answer
        raise HistoryError(f"{self._url}: {_refusal(status)}{_because(answer.error)}")


def _is_within(at: Days, first: int, last: int) -> bool:
    return not len(at) or bool(at.min() >= first and at.max() <= last)


def _line(series: _Series) -> Line:
    pairs = [series.value] if series.value is not None else series.values
    for _, value in pairs:
        if not _NUMBER.fullmatch(value):
            raise ValueError(f"no answer of a PromQL engine: {_printable(value)!r} for a number")
    values = np.array([float(value) for _, value in pairs], dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        (bad, *_) = values[~np.isfinite(values) | (values < 0)].tolist()
        named = _printable(series.metric.get("__name__", "a series"))
        node = _printable(series.metric.get("node", "?"))
        raise ValueError(f"{named} of node {node} is {bad}, which no node releases")
    at = np.array([at for at, _ in pairs], dtype=np.float64)
    return Line(series.metric, at.round().astype(np.int64), values)


def _refusal(status: int) -> str:
    match status:
        case HTTPStatus.OK:
            return "could not answer"
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return f"does not let us in ({status}): give a user, a token or a tenant's header"
        case HTTPStatus.NOT_FOUND:
            return f"no PromQL there (404): give the address that stands before {_API}"
        case HTTPStatus.UNPROCESSABLE_ENTITY | HTTPStatus.BAD_REQUEST:
            return f"could not answer ({status})"
    if 300 <= status < 400:
        return f"sends us elsewhere ({status}), which is not followed: give the address itself"
    return f"could not answer now ({status})"


def _because(error: str) -> str:
    shown = _printable(error)
    return f": {shown}" if shown else ""


def _printable(text: str) -> str:
    """Return the first line of foreign *text*, in what can be printed of ASCII."""
    first = text.strip().partition("\n")[0].strip()
    return re.sub(r"[^ -~]", "?", first)[:_LONGEST_WORDS]


def _checked(url: str) -> URL:
    """Return where the calls of the API begin."""
    try:
        parsed = URL(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host)
    except ValueError:
        usable = False
    if not usable:
        raise HistoryError(f"prometheus:{url}: has to be an address like http://HOST:9090")
    if parsed.user is not None or parsed.password is not None:
        raise HistoryError("prometheus: the address holds a user or password, which a file should")
    path = parsed.path.rstrip("/").removesuffix(_API)
    return parsed.with_path(path + _API).with_query(None)
