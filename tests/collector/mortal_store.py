"""A program that stores batch after batch and says what it was told is durable, until it is killed.

Usage: mortal_store.py DATABASE FIRST_HOUR SEED
"""

import random
import sys
from itertools import count
from pathlib import Path

from tests.collector.storing import DAY, HOUR, MIDNIGHT, numbers, released
from trafficd.collector.retention import Kept
from trafficd.collector.slices import Slice
from trafficd.collector.store import Store


def release(number: int, hour: int) -> Slice:
    """What a node says of an hour: the same whoever asks; every 50 hours it is booted anew."""
    run = (hour + number) // 50
    start = MIDNIGHT + max(0, run * 50 - number) * HOUR
    return released(MIDNIGHT + hour * HOUR, (hour + number) % 50 * number, start=start, classes=6)


def messages(number: int, hour: int, rng: random.Random) -> list[tuple[int, list[Slice]]]:
    """The release of an hour whole, or in two parts."""
    whole = release(number, hour)
    if rng.random() < 0.9:
        return [(number, [whole])]
    cut = rng.randrange(1, len(whole.series))
    halves = slice(None, cut), slice(cut, None)
    return [(number, [Slice(whole.at, whole.series[h], whole.values[h])]) for h in halves]


def main() -> None:
    path, first_hour, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    store = Store(path)
    nodes = numbers(store)
    for hour in count(first_hour):
        batch = [each for number in nodes for each in messages(number, hour, rng)]
        # Again, and late.
        batch.append((nodes[0], [release(nodes[0], max(0, hour - 30))]))
        assert set(store.append(batch)) == {None}
        sys.stdout.write(f"{hour}\n")
        sys.stdout.flush()
        store.tidy(MIDNIGHT + hour * HOUR, Kept(raw_days=None))
        assert hour * HOUR < 10_000 * DAY


if __name__ == "__main__":
    main()
