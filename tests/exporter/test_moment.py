"""The moment of a node: by its name, early in a window, spread over the fleet."""

import pytest

from trafficd.exporter.moment import moment_seconds


@pytest.mark.parametrize(("window", "last"), [(300, 150), (600, 300), (3600, 300), (86400, 300)])
def test_moments_spread_evenly_over_the_first_minutes(window: int, last: int) -> None:
    moments = [moment_seconds(f"node-{number}", window) for number in range(10_000)]

    # The reader decides within 10 seconds; whoever pushes later than that tells nothing of it.
    assert 10 < min(moments) < max(moments) <= last
    tenth = (last - 15) / 10
    for number in range(10):
        begin = 15 + number * tenth
        assert 850 < len([each for each in moments if begin <= each < begin + tenth]) < 1150


def test_a_node_has_one_moment_for_ever() -> None:
    # 15 + 285 * int(hashlib.blake2b(b"fra-17", digest_size=8).hexdigest(), 16) / 2**64: a name that
    # moved to another moment would send twice in a window, or not at all.
    assert moment_seconds("fra-17", 3600) == pytest.approx(99.869039)
