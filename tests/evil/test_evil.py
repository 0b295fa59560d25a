"""The proof of blindness: evil code inside a locked half learns nothing and leaves nothing behind.

Each attempt is its own test, made in a locked half of a real agent, and once more, as the control,
in an agent without a sandbox: there it must come to something, or it would prove nothing here.
"""

import errno
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import make_namespace
from tests.evil.attempts import ALL_THAT_SURVIVE, names
from tests.evil.memory import BY_ABORT, BY_FAULT, FROM_OUTSIDE
from tests.evil.outside import (
    EvilRun,
    Outcome,
    is_root_of_a_user_namespace,
    missing_layers,
    run_evil,
)
from tests.evil.planted import Planted, planted
from tests.evil.world import ATTEMPTS, EXPORTER, READER
from trafficd.sandbox.landlock import best_abi

pytestmark = pytest.mark.kernel

WITH_WEB_CONFIG = "exporter-with-a-web-config"
HALVES = (READER, EXPORTER, WITH_WEB_CONFIG)
PUSHING = "exporter-that-pushes"
CONFIGS = {WITH_WEB_CONFIG: "with-web.yml", PUSHING: "pushing.yml"}
# What pushing to a name takes: TCP, and datagrams, of both families, and nothing else.
ANY_FAMILY = "new sockets: of any family and kind that there is"
PUSHES_BY = {"2/1", "2/2", "10/1", "10/2"}
BY_TCP = "new sockets: connect by TCP"
# What a test of its own catches the dumps of.
DUMPED = (BY_ABORT, BY_FAULT, FROM_OUTSIDE)

Try = Callable[[str, str, bool], EvilRun]


@pytest.fixture(scope="module")
def place() -> Iterator[Planted]:
    with make_namespace() as namespace, planted(namespace) as made:
        yield made


@pytest.fixture(scope="module")
def attempts_of(place: Planted) -> Try:
    """Runs an agent with an evil half, once for all that it tries in one process."""
    if missing := missing_layers():
        pytest.skip(f"no half can be locked here: no {missing}")
    made: dict[tuple[str, str, bool], EvilRun] = {}

    def run(half: str, which: str, is_control: bool) -> EvilRun:
        key = half, which, is_control
        if key not in made:
            made[key] = run_evil(
                place,
                EXPORTER if half in CONFIGS else half,
                config=CONFIGS.get(half, "agent.yml"),
                is_control=is_control,
                attempts=which,
            )
        return made[key]

    return run


def each_attempt(halves: tuple[str, ...], *, is_deadly: bool) -> list[object]:
    return [
        pytest.param(half, name, id=f"{half}: {name}")
        for half in halves
        for name in names(EXPORTER if half in CONFIGS else half, is_deadly=is_deadly)
        if name not in DUMPED
    ]


def reported(run: EvilRun, name: str) -> Outcome:
    assert run.is_done, f"ended at {run.tried[-1:]} with {run.status}: {run.said}"
    return run.outcomes[name]


@pytest.mark.parametrize(("half", "name"), each_attempt(HALVES, is_deadly=False))
def test_a_locked_half_fails_to(attempts_of: Try, half: str, name: str) -> None:
    outcome = reported(attempts_of(half, ALL_THAT_SURVIVE, False), name)

    assert outcome.learned == ""
    assert outcome.broken == ""


@pytest.mark.parametrize(("half", "name"), each_attempt((PUSHING,), is_deadly=False))
def test_a_locked_exporter_that_pushes_fails_to(attempts_of: Try, half: str, name: str) -> None:
    outcome = reported(attempts_of(half, ALL_THAT_SURVIVE, False), name)

    if name == BY_TCP and best_abi() < 4:
        pytest.skip("this kernel's Landlock knows no ports")
    if name == ANY_FAMILY:
        assert {*outcome.learned.split()} <= PUSHES_BY
        assert "2/1" in outcome.learned
    else:
        assert outcome.learned == ""
    assert outcome.broken == ""


@pytest.mark.parametrize(("half", "name"), each_attempt(HALVES, is_deadly=True))
def test_a_locked_half_fails_or_dies_to(attempts_of: Try, half: str, name: str) -> None:
    run = attempts_of(half, name, False)
    outcome = run.outcomes.get(name, Outcome(refused="it ended"))

    assert run.tried == [name]
    assert outcome.learned == ""
    assert outcome.broken == ""
    # Who was not killed for it was refused it.
    assert run.is_done == (name in run.outcomes)


@pytest.mark.parametrize(("half", "name"), each_attempt((READER, EXPORTER), is_deadly=False))
def test_without_the_sandbox_it_is_possible_to(attempts_of: Try, half: str, name: str) -> None:
    outcome = reported(attempts_of(half, ALL_THAT_SURVIVE, True), name)

    expect_success(name, outcome)


@pytest.mark.parametrize(("half", "name"), each_attempt((READER, EXPORTER), is_deadly=True))
def test_without_the_sandbox_it_is_possible_alone_to(
    attempts_of: Try, half: str, name: str
) -> None:
    run = attempts_of(half, name, True)

    assert name in run.outcomes, run
    expect_success(name, run.outcomes[name])


def expect_success(name: str, outcome: Outcome) -> None:
    """Check that the attempt came to something, where the kernel has what it is about."""
    if outcome.not_offered:
        pytest.skip(outcome.not_offered)
    if outcome.refused in {errno.errorcode[each] for each in ATTEMPTS[name].absent}:
        pytest.skip(f"this kernel has nothing of the kind: {outcome.refused}")
    if outcome.refused in ("EPERM", "EACCES") and is_root_of_a_user_namespace():
        pytest.skip("root of a user namespace may not either")
    assert outcome.broken == ""
    assert outcome.refused == ""
    assert outcome.learned != ""
