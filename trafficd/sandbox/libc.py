"""The system calls that Python 3.11 has no function for, by way of the C library."""

import ctypes
import mmap
import os

_STATFS_BYTES = 256  # more than any struct statfs; it begins with the type (statfs(2))
_MAP_FAILED = ctypes.c_void_p(-1).value

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


def file_system_type(descriptor: int) -> int:
    """Return the magic number of the file system that *descriptor* is on (statfs(2)).

    Raises: OSError.
    """
    found = (ctypes.c_uint32 * (_STATFS_BYTES // 4))()
    libc_call("fstatfs", descriptor, found)
    return int(ctypes.c_long.from_buffer(found).value)


def map_shared(descriptor: int, length: int) -> memoryview:
    """Return the first *length* bytes of the file, mapped for good; the descriptor may be closed.

    Python's own mmap keeps a descriptor of its own open.
    Raises: OSError.
    """
    function = _LIBC.mmap
    function.restype = ctypes.c_void_p
    rights = mmap.PROT_READ | mmap.PROT_WRITE
    size, start = ctypes.c_size_t(length), ctypes.c_long(0)
    address = function(None, size, rights, mmap.MAP_SHARED, descriptor, start)
    if address in (None, _MAP_FAILED):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return memoryview((ctypes.c_ubyte * length).from_address(address)).cast("B")


def map_memory(length: int) -> memoryview:
    """Return *length* bytes of memory that is taken only where it is written to.

    Raises: OSError.
    """
    return memoryview(mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def overwrite(data: bytes, behind: int = 0) -> None:
    """Put zeros in the place of *data* *behind* so many bytes: nobody may look there any more.

    What Python frees keeps its content until somebody else needs the place.
    """
    # CPython: the bytes stand at the end of the object, before a byte of zero.
    if len(data) > behind:
        ctypes.memset(id(data) + bytes.__basicsize__ - 1 + behind, 0, len(data) - behind)
