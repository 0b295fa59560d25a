"""Thousands of bodies that nobody sends, some over HTTP; the system tests have a million."""

import contextlib
import http.client
import signal
import socket
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collector.foreign_pushes import Push, damaged, pushes, strange_classes
from tests.collector.fuzzing import (
    ALLOWED,
    NODE,
    Facts,
    facts_of,
    facts_said,
    fuzz,
    refuse_what_section_6_has_not,
)
from tests.collector.pushing import packed
from tests.commands.test_collector import Place, recent, serving
from tests.test_series import RELEASE
from trafficd.collector.store import Store
from trafficd.errors import Refused
from trafficd.series import series_of
from trafficd.wire.remote_write import HEADERS

PUSHES = 300


def placed(folder: Path) -> Place:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config, database = folder / "collector.yml", folder / "collector.db"
    config.write_text(f'listen: ["127.0.0.1:{port}"]\ndatabase: {database}\n')
    return Place(config, database, port)


def test_no_body_makes_more_of_ingest_than_a_refusal() -> None:
    taken = fuzz(20_000, seed=1)

    # Every reason there is but the one that only the store knows besides, and what is right.
    assert set(taken) == {*Refused, "taken"}
    assert taken["taken"] > 500


def test_what_may_be_stored_is_what_a_release_says() -> None:
    assert [str(each) for each, _ in series_of(RELEASE) if not ALLOWED.fullmatch(str(each))] == []
    assert not ALLOWED.fullmatch('trafficd_class_receive_bytes_total{class="192.0.2.7"}')


def test_a_collector_stores_what_it_acknowledges_and_acknowledges_only_what_is_right(
    tmp_path: Path,
) -> None:
    place = placed(tmp_path)
    token = place.add(NODE.name, NODE.location)
    acknowledged: Facts = set()

    with (
        serving(place) as daemon,
        contextlib.closing(http.client.HTTPConnection(place.address, timeout=20)) as line,
    ):

        def is_taken_or_refused(push: Push) -> None:
            authorization = {"Authorization": f"Bearer {token}"}
            headers = {**HEADERS[push.protocol], **authorization}
            line.request("POST", "/api/v1/write", packed(push.message), headers)
            answer = line.getresponse()
            reason = answer.read().decode()

            assert answer.status in (204, 400), reason
            is_taken = answer.status == 204
            assert len(reason.splitlines()) == (0 if is_taken else 1)
            if push.is_right is False:
                assert not is_taken
                return
            if not (is_taken or push.is_right):
                return
            facts = facts_said(push.message, push.protocol)
            # A right message is refused only where it contradicts an earlier one.
            known = {fact[:3] for fact in acknowledged}
            is_contradicting = any(fact[:3] in known for fact in facts - acknowledged)
            assert is_taken != is_contradicting, reason
            if is_taken:
                acknowledged.update(facts)

        for push in strange_classes():
            is_taken_or_refused(push)
        drawn = given(st.one_of(pushes(), pushes(), damaged()))(is_taken_or_refused)
        settings(max_examples=PUSHES, suppress_health_check=[HealthCheck.too_slow])(drawn)()
        is_well = [place.ask("GET", path)[0] for path in ("/healthz", "/metrics")] == [200, 200]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0

    with contextlib.closing(Store(place.database)) as store:
        stored = list(store.history(1, 0, 1 << 40))
    assert is_well
    assert len(acknowledged) > 10
    assert facts_of(stored) == acknowledged
    refuse_what_section_6_has_not(stored, recent())
