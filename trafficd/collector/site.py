"""The planning page: which address answers what, as HTML for people and as JSON for programs.

    /                            locations, the one to expand next first   /api/v1/plan
    /fleet, /locations/NAME      all that is said of a place               /api/v1/plan/...
    /what-if?...                 a form, and the ranking as it would be    /api/v1/plan/what-if?...
    /static/HASH/NAME            style, scripts and the icon

Of a plan that has not changed nothing is rendered twice, and a browser that has it hears so.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import msgspec

from trafficd.collector import assets
from trafficd.collector.assets import Assets
from trafficd.collector.pages import API, LOCATIONS, Pages
from trafficd.collector.supposing import composed, given
from trafficd.errors import HistoryError
from trafficd.planning.document import Detail, Plan, WhatIf, as_json
from trafficd.service.negotiation import accepts_gzip

# An empty style element may be inserted, by the hash of nothing (CSP 3, 8.3): the charting library
# does, and fills it through the CSSOM, which is a matter of script-src. Nothing else needs more.
_EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
SECURITY = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {_EMPTY_STYLE}; "
        "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# What is in a page is for who may see it; it is asked for again each time, by its tag.
_ASK_AGAIN = "private, no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"
_HTML, _JSON = "text/html; charset=utf-8", "application/json"
_AGAIN_SECONDS = 2
_NOT_YET = "The plan is being computed; this page looks again by itself."
# Below a packet there is nothing to gain.
_FEWEST_ZIPPED_BYTES = 1400
_GZIP_LEVEL = 5
_TAG_BYTES = 12
# What people look at is compressed, and less than half of this; the largest is for programs.
_MOST_KEPT, _MOST_KEPT_BYTES = 64, 1 << 17
_METHODS = ("GET", "HEAD")
_OF_A_BODY = ("Content-Encoding",)

Query = Sequence[tuple[str, str]]


class Planner(Protocol):
    """Makes the documents that are shown."""

    async def plan(self) -> Plan | None:
        """Return the plan as it is now, the same object until it changes; None before the first."""
        ...

    async def what_if(self, supposed: Query) -> WhatIf:
        """Return the ranking with what is *supposed*, pairs of a kind and a value as text.

        Raises: HistoryError with a sentence if one makes no sense.
        """
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; *headers* are those besides Content-Type.

    What HEAD asks for has the body too: who sends it leaves it out, and says its length.
    """

    status: HTTPStatus
    content_type: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Content:
    """What a response is about, before it is negotiated how it is sent."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Site:
    """Answers requests for the planning page and its JSON."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._assets = Assets()
        self._pages = Pages(self._assets)
        self._kept_of: Plan | None = None
        self._kept: dict[tuple[str, bool], Response] = {}

    async def answer(
        self, method: str, path: str, query: Query, headers: Mapping[str, str]
    ) -> Response:
        """Return the answer to a request.

        Shape: *path* is unquoted; *query* has pairs as they come, a name as often as it stands
        there; *headers* do not care for case.
        """
        is_json = _is_json(path)
        is_static = path.startswith(assets.PREFIX)
        if not (is_static or _has_something(path)):
            return _response(self._nothing(path), {})
        if method not in _METHODS:
            sentence = "This address can be read and nothing else."
            content = self._sentence(HTTPStatus.METHOD_NOT_ALLOWED, sentence, is_json=is_json)
            return _response(content, {"Allow": ", ".join(_METHODS)})
        is_zipped = accepts_gzip(headers.get("Accept-Encoding"))
        if is_static:
            return await self._static(path, is_zipped=is_zipped)
        plan = await self._planner.plan()
        if plan is None:
            content = self._not_yet(is_json=is_json)
            return _response(content, {"Retry-After": str(_AGAIN_SECONDS)})
        if path in ("/what-if", f"{API}/what-if"):
            content = await self._what_if(plan, query, is_json=is_json)
            return await asyncio.to_thread(_packed, content, is_zipped=is_zipped)
        return _or_unchanged(
            await self._planned(plan, path, is_zipped=is_zipped), headers.get("If-None-Match")
        )

    # ---- what depends on the plan alone ----

    async def _planned(self, plan: Plan, path: str, *, is_zipped: bool) -> Response:
        if plan is not self._kept_of:
            self._kept_of, self._kept = plan, {}
        kept = self._kept.get((path, is_zipped))
        if kept is not None:
            return kept
        response = await asyncio.to_thread(self._made, plan, path, is_zipped=is_zipped)
        is_worth_it = response.status is HTTPStatus.OK and len(response.body) <= _MOST_KEPT_BYTES
        # Another plan may have come meanwhile.
        if is_worth_it and plan is self._kept_of:
            if len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[path, is_zipped] = response
        return response

    def _made(self, plan: Plan, path: str, *, is_zipped: bool) -> Response:
        is_json = _is_json(path)
        shown = _document(plan, path.removeprefix(API) or "/")
        if shown is None:
            content = self._nothing(path)
        elif is_json:
            content = _Content(HTTPStatus.OK, _JSON, as_json(shown))
        elif isinstance(shown, Plan):
            content = _Content(HTTPStatus.OK, _HTML, self._pages.ranking(shown).encode())
        else:
            content = _Content(HTTPStatus.OK, _HTML, self._pages.place(plan, shown).encode())
        return _packed(content, is_zipped=is_zipped)

    # ---- what depends on more ----

    async def _what_if(self, plan: Plan, query: Query, *, is_json: bool) -> _Content:
        supposed = given(query)
        result, mistake = None, ""
        try:
            supposed = [*supposed, *composed(query)]
            if supposed or is_json:
                result = await self._planner.what_if(supposed)
        except HistoryError as error:
            mistake = str(error)
        status = HTTPStatus.BAD_REQUEST if mistake else HTTPStatus.OK
        if not is_json:
            page = await asyncio.to_thread(self._pages.what_if, plan, supposed, result, mistake)
            return _Content(status, _HTML, page.encode())
        if result is None:
            return self._sentence(status, mistake, is_json=True)
        return _Content(status, _JSON, as_json(result))

    async def _static(self, path: str, *, is_zipped: bool) -> Response:
        asset = self._assets.find(path)
        if asset is None:
            sentence = "There is nothing at this address; it changes with what is there."
            return _response(self._sentence(HTTPStatus.NOT_FOUND, sentence, is_json=False), {})
        body = await asyncio.to_thread(self._assets.body, asset, is_zipped=is_zipped)
        content = _Content(HTTPStatus.OK, asset.content_type, body)
        coding = {"Content-Encoding": "gzip"} if is_zipped else {}
        return _response(content, {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding", **coding})

    def _nothing(self, path: str) -> _Content:
        sentence = "There is nothing at this address."
        if path.removeprefix(API).startswith(LOCATIONS):
            sentence = "There is no such location in the history that is held."
        return self._sentence(HTTPStatus.NOT_FOUND, sentence, is_json=_is_json(path))

    def _not_yet(self, *, is_json: bool) -> _Content:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        if is_json:
            return self._sentence(status, "The plan is being computed; ask again.", is_json=True)
        page = self._pages.message("One moment", _NOT_YET, again_seconds=_AGAIN_SECONDS)
        return _Content(status, _HTML, page.encode())

    def _sentence(self, status: HTTPStatus, sentence: str, *, is_json: bool) -> _Content:
        if is_json:
            return _Content(status, _JSON, msgspec.json.encode({"error": sentence}))
        return _Content(status, _HTML, self._pages.message(status.phrase, sentence).encode())


def _is_json(path: str) -> bool:
    return path == API or path.startswith(f"{API}/")


def _has_something(path: str) -> bool:
    """Return whether a plan has something to say at *path*, or may have."""
    place = path.removeprefix(API) or "/"
    return place in ("/", "/fleet", "/what-if") or place.startswith(LOCATIONS)


def _document(plan: Plan, place: str) -> Plan | Detail | None:
    """Return what is at *place*, an address without what JSON has before it."""
    if place == "/":
        return plan
    if place == "/fleet":
        return plan.fleet
    if place.startswith(LOCATIONS):
        return plan.locations.get(place.removeprefix(LOCATIONS))
    return None


def _packed(content: _Content, *, is_zipped: bool) -> Response:
    """Return the response with a tag, compressed if that is worth it."""
    tag = hashlib.blake2b(content.body, digest_size=_TAG_BYTES).hexdigest()
    headers = {"Vary": "Accept-Encoding"}
    if content.status is HTTPStatus.OK:
        # Weak: compressed or not, it is the same (RFC 9110, 8.8.1).
        headers["ETag"] = f'W/"{tag}"'
    if is_zipped and len(content.body) >= _FEWEST_ZIPPED_BYTES:
        headers["Content-Encoding"] = "gzip"
        packed = gzip.compress(content.body, _GZIP_LEVEL, mtime=0)
        content = _Content(content.status, content.content_type, packed)
    return _response(content, headers)


def _response(content: _Content, headers: Mapping[str, str]) -> Response:
    own = {"Cache-Control": _ASK_AGAIN, **SECURITY, **headers}
    return Response(content.status, content.content_type, own, content.body)


def _or_unchanged(response: Response, if_none_match: str | None) -> Response:
    """Return *response*, or that it has not changed, to who has it (RFC 9110, 13.1.2)."""
    tag = response.headers.get("ETag")
    asked = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    if tag is None or (tag.removeprefix("W/") not in asked and asked != ["*"]):
        return response
    headers = {name: value for name, value in response.headers.items() if name not in _OF_A_BODY}
    return Response(HTTPStatus.NOT_MODIFIED, response.content_type, headers, b"")
