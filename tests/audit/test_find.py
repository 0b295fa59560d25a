"""Which processes are halves, by their command lines."""

import pytest

from trafficd.audit.find import command_of


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("/opt/bin/python -m trafficd reader --config /etc/a.yml", ("reader", "/etc/a.yml")),
        ("python3 -P -m trafficd exporter --config=a.yml", ("exporter", "a.yml")),
        ("/opt/bin/python /opt/bin/trafficd reader --conf a.yml", ("reader", "a.yml")),
        ("/opt/bin/trafficd agent --config a.yml", ("agent", "a.yml")),
        ("vi trafficd", None),
        ("python -m trafficd reader", None),
        ("python -m trafficd reader --config", None),
        ("python -m trafficd.cli reader --config a.yml", None),
        ("grep -r trafficd reader --config a.yml", None),
        ("", None),
    ],
)
def test_a_command_line_is_read_as_argparse_reads_it(
    words: str, expected: tuple[str, str] | None
) -> None:
    assert command_of(words.split()) == expected
