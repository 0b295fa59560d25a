"""Two readers on a real kernel whose links differ in what may not be known: one log, one frame."""

import contextlib

import pytest

from tests.conftest import Namespace
from tests.lab import TunSession, without_ipv6
from tests.reader.test_app import Said, running
from tests.reader.test_app import said as said
from trafficd.log import Message
from trafficd.releases import Release, Totals
from trafficd.wire.frame import encode_frame

pytestmark = pytest.mark.kernel

MIB = 1 << 20


async def run(
    namespace: Namespace, said: Said, names: list[str], *, first_ifindex: int, is_early: bool
) -> tuple[list[Release], list[str]]:
    """Return what left a reader of sessions with these *names*, and what it logged."""
    without_ipv6(namespace.name)
    said.messages.clear()
    async with running(namespace) as reader:
        with contextlib.ExitStack() as ladder:
            sessions = [
                ladder.enter_context(
                    TunSession(namespace.name, name, ifindex=first_ifindex + number)
                )
                for number, name in enumerate(names)
            ]
            await reader.clock.run(20 if is_early else 90)
            for session in sessions:
                session.receive(MIB)
            await reader.clock.run(380 if is_early else 310)
            sessions[0].receive(20 * MIB)
            reader.hand_down()
            await said.wait_for(Message.RULES_REREAD)
            reader.hand_down("links: no list")
            await said.wait_for(Message.RULES_REFUSED)
            await reader.clock.run(300)
            for session in sessions:
                session.receive(3 * MIB)
        await reader.clock.run(300)
        return list(reader.releases()), list(said.messages)


async def test_names_numbers_and_moments_leave_frames_and_log_as_they_are(
    namespace: Namespace, other_namespace: Namespace, said: Said
) -> None:
    plain = [f"ppp{number}" for number in range(12)]
    telling = [f"ppp-mallory{number}" for number in reversed(range(12))]

    one, logged = await run(namespace, said, plain, first_ifindex=100, is_early=True)
    other, also = await run(other_namespace, said, telling, first_ifindex=7000, is_early=False)

    assert [encode_frame(each) for each in one] == [encode_frame(each) for each in other]
    assert logged == also
    # A page of zeros; a crowd; one of it alone, withheld; and all.
    assert [each.tunnel for each in one] == [
        Totals(), Totals(12 * MIB, 0), Totals(12 * MIB, 0), Totals(68 * MIB, 0),
    ]  # fmt: skip
