#!/usr/bin/env python3
"""Makes an environment fit for another place than the one where pip filled it.

`relocate.py ENVIRONMENT PREFIX`: the programs that pip wrote name the interpreter by its path in
their first line, and RECORD holds their digests. Here `trafficd` gets the path it will have, with
its digest; programs of libraries are taken away, with their lines: nobody needs them on a node.
"""

import base64
import csv
import hashlib
import sys
from pathlib import Path

KEPT = "trafficd"


def main() -> None:
    """Go through the record of each distribution."""
    environment, prefix = Path(sys.argv[1]), sys.argv[2]
    for record in environment.glob("lib/python3*/site-packages/*.dist-info/RECORD"):
        with record.open(newline="") as file:
            lines = list(csv.reader(file))
        kept = []
        for name, *rest in lines:
            place = record.parent.parent / name
            if place.resolve().parent != environment.resolve() / "bin":
                kept.append([name, *rest])
            elif place.name == KEPT:
                kept.append([name, *_relocated(place, prefix)])
            else:
                place.unlink()
        with record.open("w", newline="") as file:
            # As pip and PEP 376 have it.
            csv.writer(file, lineterminator="\n").writerows(kept)


def _relocated(program: Path, prefix: str) -> list[str]:
    """Give *program* its interpreter under *prefix*; return its digest and size for RECORD."""
    _, newline, body = program.read_bytes().partition(b"\n")
    content = f"#!{prefix}/bin/python3".encode() + newline + body
    program.write_bytes(content)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return [f"sha256={digest}", str(len(content))]


if __name__ == "__main__":
    main()
