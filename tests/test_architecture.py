"""House rules: who may import what, how long a file may be, what may be logged."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trafficd
from trafficd.log import Message

PACKAGE = Path(trafficd.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# A link is known in these rooms and nowhere else.
LINK_MODULES = (
    "trafficd.links",
    "trafficd.kernel",
    "trafficd.accounting",
    "trafficd.reader",
    "trafficd.demo",
)
BEHIND_THE_WALL = ("exporter", "wire", "releases.py", "schema.py", "service", "log.py")

OWNERS = {
    "pyroute2": ("kernel/", "demo/"),
    "prometheus_client": ("exporter/metrics.py", "demo/"),
    "aiohttp": (
        "exporter/http.py",
        "collector/http.py",
        "exporter/post.py",
        "exporter/names.py",
        "planning/promql.py",
        "service/connections.py",
        "demo/",
    ),
    "bcrypt": ("service/basic_auth.py",),
    "cramjam": ("wire/snappy.py",),
    "google": ("wire/messages.py",),
    "sqlite3": ("collector/store", "collector/retention.py", "collector/backup.py"),
    "jinja2": ("collector/pages.py",),
    "markupsafe": ("collector/pages.py",),
    "yaml": ("settings.py",),
    "ctypes": ("sandbox/", "demo/"),
    "pyseccomp": ("sandbox/seccomp.py", "sandbox/inspect.py"),
    "rich": ("demo/", "planning/table.py"),
    "time": ("clock.py", "log.py", "service/halves.py", "service/notify.py", "demo/"),
}


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize(
    "module", [m for m in MODULES if room(m) in BEHIND_THE_WALL], ids=lambda m: m.name
)
def test_what_exports_cannot_import_what_describes_a_link(module: Path) -> None:
    assert [name for name in imports(module) if within(name, LINK_MODULES)] == []


def test_the_exporting_process_never_loads_a_module_that_knows_links() -> None:
    program = (
        "import sys, trafficd.cli, trafficd.exporter.app;"
        "trafficd.cli.parse(['exporter', '--config', 'x']);"
        "print('\\n'.join(sys.modules))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    forbidden = (*LINK_MODULES, "pyroute2")
    assert [name for name in loaded if within(name, forbidden)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_each_outside_thing_has_one_owner(module: Path) -> None:
    place = str(module.relative_to(PACKAGE))

    strangers = [
        name
        for name in imports(module)
        for library, owners in OWNERS.items()
        if within(name, (library,)) and not place.startswith(owners)
    ]

    assert strangers == []


@pytest.mark.parametrize(
    "module", [m for m in MODULES if room(m) in ("accounting", "wire")], ids=lambda m: m.name
)
def test_rules_are_pure(module: Path) -> None:
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [n for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, waiting)]
    impure = ("asyncio", "socket", "os", "time", "logging", "trafficd.log", "random", "pathlib")
    assert [name for name in imports(module) if within(name, impure)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_files_stay_under_the_ceiling(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 400


def test_only_the_catalogue_is_logged() -> None:
    for module in MODULES:
        if module.name == "log.py":
            continue
        source = module.read_text()
        assert not re.search(r"\blog(?:ger)?\.(debug|info|warning|error|exception)\(", source)
        for call in re.findall(r"\bsay\(([^,)]*)", source):
            assert call.startswith("Message."), f"{module}: say({call})"


def test_no_sentence_of_the_log_has_room_for_a_link_or_a_counter() -> None:
    places = {name for message in Message for name in re.findall(r"{(\w+)}", message)}

    # The last two are what a destination answered, cut short; the others an operator's words.
    assert places <= {"instant", "address", "half", "destination", "status", "answer"}


def test_every_sentence_of_the_log_is_said_somewhere() -> None:
    source = "\n".join(module.read_text() for module in MODULES)

    assert [each.name for each in Message if f"Message.{each.name}" not in source] == []
