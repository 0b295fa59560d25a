"""The system calls that Python 3.11 has no function for, by way of the C library."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)


def libc_call(name: str, *arguments: int | ctypes.Array[ctypes.c_uint32] | bytes | None) -> int:
    """Return what the C library's function *name* returns.

    Raises: OSError if that is -1, with the error number of the call.
    """
    function = getattr(_LIBC, name)
    # Variadic functions read whole registers: a Python int alone would be passed as 32 bits.
    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    returned = int(function(*passed))
    if returned == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned


def prctl(option: int, *arguments: int) -> int:
    """Call the kernel's prctl; arguments that are not given are 0, as most options demand.

    Raises: OSError.
    """
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return libc_call("prctl", option, *padded)
