"""The story that the demo plays."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trafficd.demo.schedule import SHARED_LINK, Action, Closed, Moved, Opened, steps


def story(seed: str, residents: int, count: int = 200) -> list[list[Action]]:
    return list(itertools.islice(steps(seed, residents), count))


@given(seed=st.text(), residents=st.integers(0, 20))
def test_only_links_that_are_open_move_and_close(seed: str, residents: int) -> None:
    is_open: set[str] = set()

    for action in itertools.chain.from_iterable(story(seed, residents)):
        match action:
            case Opened(link, _):
                assert link not in is_open
                is_open.add(link)
            case Moved(link, _, _):
                assert link in is_open
            case Closed(link):
                is_open.remove(link)

    assert SHARED_LINK in is_open


def test_the_same_seed_tells_the_same_story() -> None:
    assert story("fra-1", 14) == story("fra-1", 14)
    assert story("fra-1", 14) != story("ams-1", 14)


def test_some_sessions_come_and_go_within_a_step() -> None:
    short = [
        actions
        for actions in story("fra-1", 14)
        if {a.link for a in actions if isinstance(a, Opened)}
        & {a.link for a in actions if isinstance(a, Closed)}
    ]

    assert len(short) > 10


def test_the_shared_link_moves_as_often_as_it_has_to() -> None:
    moved = [
        sum(isinstance(a, Moved) and a.link == SHARED_LINK for a in actions)
        for actions in itertools.islice(steps("fra-1", 14, lambda: 2.5), 400)
    ]

    assert set(moved) == {2, 3}
    assert 2.4 < sum(moved) / 400 < 2.6
