"""What an agent leaves where it may or may not is seen."""

import tempfile
from pathlib import Path

from tests.blindness import search
from tests.blindness.node import WatchedAgent
from tests.conftest import Namespace

CANARY = search.text("name", "elsewhereCANARYw1")


def test_a_file_that_is_written_elsewhere_is_seen(tmp_path: Path) -> None:
    agent = WatchedAgent(Namespace("none"), tmp_path, {})

    with tempfile.TemporaryDirectory(prefix="trafficd-test-") as name:
        Path(name, "trace").write_text("of elsewhereCANARYw1\n")
        told = search.found(
            agent.foreign_files(), [CANARY], shortest=search.SHORTEST_IN_FOREIGN_FILES
        )

    assert told == [f"name as text in {name}/trace"]


def test_a_file_that_is_only_named_so_is_seen(tmp_path: Path) -> None:
    agent = WatchedAgent(Namespace("none"), tmp_path, {})

    (tmp_path / "home" / "elsewhereCANARYw1").touch()
    with tempfile.NamedTemporaryFile(prefix="elsewhereCANARYw1"):
        everywhere = {**agent.everything(), **agent.foreign_files()}

    assert len(search.found(everywhere, [CANARY])) == 2
