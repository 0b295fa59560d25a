"""Which representation a client asks for: Accept and Accept-Encoding (RFC 9110, 12.5)."""

import re
from collections.abc import Sequence

_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE)


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """Return the content type of *offered* that *accept* likes best.

    Parameters other than q narrow nothing: Prometheus asks for versions of a format that differ in
    nothing we print. Among equals the first offered wins, and so it does where none is liked: a
    scraper can do more with a page than with 406.
    """
    ranges = _qualities(accept or "*/*")
    best, best_quality = offered[0], 0.0
    for content_type in offered:
        quality = _quality_of(content_type.partition(";")[0], ranges)
        if quality > best_quality:
            best, best_quality = content_type, quality
    return best


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Return whether *accept_encoding* likes gzip at least as much as the plain body."""
    if not accept_encoding:
        return False
    codings = _qualities(accept_encoding)
    gzip_quality = codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0)))
    return gzip_quality > 0 and gzip_quality >= codings.get("identity", 0.0)


def _quality_of(media_type: str, ranges: dict[str, float]) -> float:
    """Return the quality of the most specific range that matches *media_type*."""
    family = media_type.partition("/")[0]
    for candidate in (media_type, f"{family}/*", "*/*"):
        if candidate in ranges:
            return ranges[candidate]
    return 0.0


def _qualities(header: str) -> dict[str, float]:
    """Return the ranges or codings of *header* with the best quality each is given."""
    found: dict[str, float] = {}
    for element in header.split(","):
        name, *parameters = element.split(";")
        quality = 1.0
        for parameter in parameters:
            if match := _QUALITY.fullmatch(parameter):
                quality = float(match[1])
        name = name.strip().lower()
        found[name] = max(quality, found.get(name, 0.0))
    return found
