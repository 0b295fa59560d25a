"""pyroute2 without all that it can do besides: for the reader, which needs its sockets only.

Its package imports everything it has when any part of it is imported: clients for neighbours,
routes, connection tracking, WireGuard, open sockets. That is 8 MB of memory, and code that has no
business in a process which must not ask for any of it.
"""

import importlib.util
import sys

_PACKAGE = "pyroute2"


def leave_out_what_is_not_asked_for() -> None:
    """Let `import pyroute2.part` load that part and what it imports itself, and nothing else.

    Called before anything of pyroute2 is imported; does nothing afterwards.
    """
    spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
    if spec is not None:
        # The package as a place to find parts in; its own code is never run.
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
