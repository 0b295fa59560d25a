"""Makes a reader that writes what each link is called on standard error: the search must see it."""

import os
import sys
from typing import Any


def _tell() -> None:
    from trafficd.kernel.slim import leave_out_what_is_not_asked_for

    leave_out_what_is_not_asked_for()
    from trafficd.accounting.classify import Classifier

    group = Classifier.group

    def telling(self: Classifier, namespace: str, link: Any) -> Any:
        os.write(2, f"{link.shown_name}\n".encode())
        return group(self, namespace, link)

    Classifier.group = telling  # type: ignore[method-assign]


if "reader" in sys.orig_argv:
    _tell()
