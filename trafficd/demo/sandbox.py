"""The halves of the lab and the demo, locked as a node's are."""

from functools import partial

import msgspec

from trafficd.config import Layer, SandboxSettings
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.sandbox.landlock import best_abi


def lock(half: Half, settings: SandboxSettings) -> "partial[None]":
    """Return what locks *half*, without the layers that a machine for trying it out may lack.

    Nobody's traffic is in it. So its memory may be swapped: where a user starts it who is not
    root, the kernel would not let it lock so much. And a kernel without Landlock will do.
    """
    absent = {*settings.absent, Layer.SWAP}
    try:
        best_abi()
    except OSError:
        absent.add(Layer.LANDLOCK)
    return partial(enter_sandbox, half, msgspec.structs.replace(settings, absent=tuple(absent)))
