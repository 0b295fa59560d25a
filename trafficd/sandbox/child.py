"""Answers from a child process, for what takes libraries that have no place in a locked half.

The name service can load anything, open sockets and start threads (nsswitch.conf(5)); libseccomp is
found by running ldconfig. In a child, all that ends with it.
"""

import contextlib
import os
from collections.abc import Callable

from trafficd.errors import SandboxError

# Before an answer, and before the reason why there is none.
_ANSWERED = b"+"
_REFUSED = b"-"


def ask_child(question: Callable[[], bytes]) -> bytes:
    """Return what *question* returns in a child.

    Raises: SandboxError, if *question* raises it there.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = b""
        try:
            said = _ANSWERED + question()
        except SandboxError as error:
            said = _REFUSED + str(error).encode()
        finally:
            # Less than a pipe holds, so that this does not wait (pipe(7)).
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    # Who ignores SIGCHLD has no children to wait for (waitpid(2)).
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    if not said.startswith(_ANSWERED):
        raise SandboxError(said.removeprefix(_REFUSED).decode() or "sandbox: the preparation ended")
    return said.removeprefix(_ANSWERED)
