"""session_churn, several at a time: sessions that open, move bytes and close."""

import asyncio
from dataclasses import dataclass

from bench.laboratory import Laboratory, UnsoundError, inside

# Closing a session waits for the whole kernel (synchronize_net), so that one after the other they
# take 20 ms each; side by side they wait together, and link numbers are used again sooner.
_AT_ONCE = 20
_LONGEST_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Truth:
    """What session_churn did, as it prints it."""

    sessions: int
    rx_bytes: int


async def run_sessions(
    laboratory: Laboratory, namespace: str, sessions: int, *, packets: int, packet_bytes: int
) -> Truth:
    """Run *sessions* sessions in *namespace*, each with so many packets, and return the truth.

    Raises: MissingToolError if there is no session_churn.c, UnsoundError if it fails.
    """
    churn = str(laboratory.built("session_churn"))
    numbers = (str(sessions // _AT_ONCE), str(packets), str(packet_bytes))
    # ppp0. and so on: the built-in rules count them as sessions, and no two have one name.
    commands = [inside(namespace, churn, *numbers, f"ppp{each}.") for each in range(_AT_ONCE)]
    try:
        async with asyncio.timeout(_LONGEST_SECONDS), asyncio.TaskGroup() as group:
            tasks = [group.create_task(_printed(command)) for command in commands]
    except TimeoutError as error:
        raise UnsoundError(f"session_churn: not at its end in {_LONGEST_SECONDS:.0f} s") from error
    words = [task.result().split() for task in tasks]
    return Truth(sum(int(each[1]) for each in words), sum(int(each[3]) for each in words))


async def _printed(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
    if process.returncode:
        raise UnsoundError(f"session_churn: ended with {process.returncode}")
    return printed.decode()
