"""Computes plans in a process of its own, so that a collector's releases never wait for one.

`python -m trafficd.planning.worker SETTINGS`: reads a question a line from standard input, and for
each writes an answer to standard output: its length in eight bytes, big-endian, and then JSON. It
ends when its input does. A plan that is what it was before is not written again.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from trafficd.errors import TrafficdError
from trafficd.planning.outlook import Terms
from trafficd.planning.planner import Planner
from trafficd.planning.questions import LENGTH_BYTES, Question, Reply, Settings
from trafficd.planning.sqlite_history import SqliteHistory


def main() -> None:
    """Answer until standard input ends."""
    _let_ingest_go_first()
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    terms = Terms(settings.thresholds, settings.order_at, settings.lead_days)
    planner = Planner(SqliteHistory(Path(settings.database)), terms)
    before = b""
    for line in sys.stdin.buffer:
        question = msgspec.json.decode(line, type=Question)
        try:
            if question.supposed is not None:
                if not planner.places:
                    # This process is a new one, and the plan that is supposed of is another's.
                    planner.read(question.until)
                reply = msgspec.json.encode(Reply(what_if=planner.what_if(question.supposed)))
            else:
                made = msgspec.json.encode(Reply(plan=planner.plan(question.until)))
                reply = made if made != before else msgspec.json.encode(Reply())
                before = made
        except TrafficdError as error:
            reply = msgspec.json.encode(Reply(error=str(error)))
        sys.stdout.buffer.write(len(reply).to_bytes(LENGTH_BYTES, "big") + reply)
        sys.stdout.buffer.flush()


def _let_ingest_go_first() -> None:
    """Take the processor when nobody else does, and be the first to go where memory is short."""
    os.nice(10)
    # proc_pid_oom_score_adj(5): anybody may raise it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
