"""What the page's own address serves besides pages: style, scripts and the icon, by content.

An asset's address has a hash of what is in it, so that a browser may keep it for ever. The charting
library's script is served from where the library is installed; its Python, which takes a second to
import, is not imported.
"""

import gzip
import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PREFIX = "/static/"
_OWN = Path(__file__).parent / "static"
_SCRIPT, _STYLE, _ICON = (
    "text/javascript; charset=utf-8",
    "text/css; charset=utf-8",
    "image/svg+xml",
)
_LIBRARY = "plotly.min.js"
# The library's map part inserts a style of its own unless an element with this id is there, which a
# page with a strict policy has to refuse, and then complains of.
_STYLE_ID = re.compile(rb'getElementById\("([0-9a-f]{64})"\)')
_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Asset:
    """A file with its address; *style_ids* are of the elements that it would insert as styles."""

    address: str
    content_type: str
    source: Path
    style_ids: tuple[str, ...]

    @classmethod
    def of(cls, source: Path, content_type: str) -> Self:
        """Return the asset that *source* is now."""
        content = source.read_bytes()
        digest = hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()
        found = {each.decode() for each in _STYLE_ID.findall(content)}
        return cls(f"{PREFIX}{digest}/{source.name}", content_type, source, tuple(sorted(found)))


class Assets:
    """All assets; *library* is None where the charting library is not installed.

    The page's tables say all there is to say without it.
    """

    def __init__(self) -> None:
        self.style = Asset.of(_OWN / "site.css", _STYLE)
        self.charts = Asset.of(_OWN / "charts.js", _SCRIPT)
        self.icon = Asset.of(_OWN / "icon.svg", _ICON)
        script = _library_script()
        self.library = None if script is None else Asset.of(script, _SCRIPT)
        every = (self.style, self.charts, self.icon, self.library)
        self._assets = {each.address: each for each in every if each is not None}
        self._packed: dict[str, bytes] = {}

    def find(self, address: str) -> Asset | None:
        """Return the asset at *address*."""
        return self._assets.get(address)

    def body(self, asset: Asset, *, is_zipped: bool) -> bytes:
        """Return what is in *asset*; compressed when first asked for, and kept so."""
        packed = self._packed.get(asset.address)
        if packed is None:
            packed = gzip.compress(asset.source.read_bytes(), mtime=0)
            self._packed[asset.address] = packed
        # Every browser takes it compressed; who does not may wait for it to be unpacked.
        return packed if is_zipped else gzip.decompress(packed)


def _library_script() -> Path | None:
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        return None
    script = Path(found.origin).parent / "package_data" / _LIBRARY
    return script if script.is_file() else None
