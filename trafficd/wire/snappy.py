"""Snappy blocks of strangers: what they say of their length is weighed before anything is made.

Source: https://github.com/google/snappy/blob/main/format_description.txt, sections 1 and 2.
"""

import cramjam

from trafficd.errors import MessageRefusedError, Refused

# The length is a varint of 32 bits.
_LONGEST_VARINT = 5
_MOST_DECLARED = (1 << 32) - 1
# A copy of 64 bytes takes three, and nothing makes more of less.
_COPY_BYTES, _COPIED_BYTES = 3, 64
# Chosen: some 30,000 series, where a release has some hundred.
MOST_MESSAGE_BYTES = 4 << 20


class TooLargeError(MessageRefusedError):
    """The message is well formed, as far as one can see, and longer than is taken."""


def unpacked(block: bytes) -> bytes:
    """Return the message in *block*.

    Raises: MessageRefusedError if it is no such block, TooLargeError if its message is too long.
    """
    declared = _declared_length(block)
    if declared > len(block) * _COPIED_BYTES // _COPY_BYTES:
        raise _malformed(f"declares {declared} bytes, which {len(block)} cannot hold")
    if declared > MOST_MESSAGE_BYTES:
        raise TooLargeError(
            f"snappy: declares {declared} bytes: at most {MOST_MESSAGE_BYTES}", Refused.MALFORMED
        )
    try:
        message = bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise _malformed("not a block in snappy's format") from error
    if len(message) != declared:
        raise _malformed(f"declares {declared} bytes and holds {len(message)}")
    return message


def _declared_length(block: bytes) -> int:
    length = 0
    for place, byte in enumerate(block[:_LONGEST_VARINT]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if length > _MOST_DECLARED:
                break
            return length
    raise _malformed("does not begin with a length")


def _malformed(reason: str) -> MessageRefusedError:
    return MessageRefusedError(f"snappy: {reason}", Refused.MALFORMED)
