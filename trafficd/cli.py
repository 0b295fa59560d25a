"""The argument tree, the exit codes, and the one last-resort error line."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from trafficd import __version__
from trafficd.errors import ConfigError, TrafficdError

COMMANDS = (
    "agent", "check-config", "links", "simulate", "audit", "lab", "demo", "reader", "exporter",
    "reload", "collector", "plan",
)  # fmt: skip

EXIT_FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parse(argv)
    try:
        return int(arguments.run(arguments))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except TrafficdError as error:
        print(f"trafficd: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"trafficd: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILED
    except Exception as error:  # a trace could show what a link is called
        print(
            f"trafficd: internal error: {type(error).__name__}; please report it", file=sys.stderr
        )
        return EXIT_FAILED


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of one command."""
    return _parser().parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trafficd",
        description="Counts the bytes a VPN server moves, and is unable to count anything else.",
        epilog="example: trafficd demo",
    )
    parser.add_argument("--version", action="version", version=f"trafficd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"trafficd.commands.{name.replace('-', '_')}")
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}.",
            epilog=f"example: {module.EXAMPLE}",
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
