"""trafficd audit: what the kernel says about the running halves, and about the host around them."""

import argparse
from pathlib import Path

EXAMPLE = "trafficd audit --config /etc/trafficd/agent.yml"
SUMMARY = "ask the kernel about the running reader and exporter, and say PASS, FAIL or UNKNOWN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--pid",
        type=int,
        metavar="N",
        help="who started the halves, where several run with FILE: an agent, or 1 for systemd",
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="holds user:password, where the web config asks for a user",
    )
    parser.add_argument(
        "--details", action="store_true", help="show what stands behind each line as well"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--nonce", metavar="TEXT", help="is repeated in the JSON, to tell this run from an old one"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return 0 if every one is PASS."""
    # Here, because every command is declared in every process, and the halves have no business
    # with the means to inspect another.
    from trafficd.audit.app import run_audit
    from trafficd.audit.report import as_json, text_lines

    report = run_audit(arguments.config, agent=arguments.pid, credentials=arguments.credentials)
    if arguments.json:
        print(as_json(report, nonce=arguments.nonce))
    else:
        for line in text_lines(report, with_details=arguments.details):
            print(line)
    return 0 if report.is_passed else 1
