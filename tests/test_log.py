"""The log: it says what it says, and never keeps the daemon waiting."""

import os
import subprocess
import sys

SAYING = """
from trafficd.log import Message, say, start_logging
start_logging()
for _ in range({count}):
    say(Message.READER_READY, instant=1_700_002_800)
print("done")
"""


def test_a_sentence_is_one_line_on_standard_error() -> None:
    program = SAYING.format(count=1)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )

    assert done.stderr == ("reader: counting; the first release is due at 2023-11-14 23:00 UTC\n")


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting() -> None:
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SAYING.format(count=5000)],
            stdout=subprocess.PIPE,
            stderr=writing,
            timeout=30,
            check=True,
        )
    finally:
        os.close(reading)
        os.close(writing)

    assert done.stdout == b"done\n"


def test_a_closed_standard_error_is_survived() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, SAYING.format(count=2)],
        stdout=subprocess.PIPE,
        timeout=30,
        check=True,
    )

    assert done.stdout == b"done\n"
