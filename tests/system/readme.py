"""What the README tells its readers to type, as it stands there."""

import re

from tests.system.debian_packages import ROOT


def blocks(begins: str, ends: str) -> list[str]:
    """Return every block of commands or configuration between two pieces of its text, in order."""
    text = (ROOT / "README.md").read_text()
    first = text.index(begins)
    part = text[first : text.index(ends, first)]
    return re.findall(r"(?ms)^```(?:sh|yaml)\n(.*?)^```$", part)
