"""The exporter as it runs: locked by all layers, fed by a reader's frames, pushing for real."""

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from tests.exporter.receiver import HOUR, MIDNIGHT, Heard, Receiver, Says, receiving, release
from tests.exporter.test_names import nameserver
from tests.sandbox import machine
from tests.sandbox.machine import in_child
from tests.service.test_web_config import Authority
from trafficd.clock import Clock, Moment
from trafficd.config import AgentSettings, Layer, SandboxSettings, parse_config
from trafficd.exporter import destinations as all_destinations
from trafficd.exporter.app import Surroundings, run_exporter
from trafficd.exporter.credentials import Credentials
from trafficd.exporter.destinations import Pushing
from trafficd.exporter.names import NameService
from trafficd.sandbox.apply import Half, WayOut, enter_sandbox
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager
from trafficd.wire.frame import encode_frame, past_frame, trimmed

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(bool({*machine.lacking()} - {Layer.SWAP}), reason="no sandbox here"),
]

HOURS = [MIDNIGHT + number * HOUR for number in range(1, 5)]
# The run began at midnight: its first release is preceded by totals of 0.
SENT = [MIDNIGHT, *HOURS]
SETTINGS = SandboxSettings(absent=machine.lacking())


class Quick(Clock):
    """A clock for which every pause is short; its time is that of the releases."""

    speed = 0.0

    def now(self) -> Moment:
        return Moment(HOURS[-1] + 1000.0, 1000.0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))


class Outside:
    """What runs outside of the locked process: a receiver, and who knows its name."""

    def __init__(self, receiver: Receiver, name_port: int) -> None:
        self.receiver = receiver
        self.names = NameService(("127.0.0.1",), port=name_port)


@contextmanager
def outside(*says: Says, tls: ssl.SSLContext | None = None) -> Iterator[Outside]:
    """Run a receiver, and a nameserver that knows every name to be here, in a thread."""
    is_there, stop = threading.Event(), threading.Event()
    found: list[Outside] = []

    async def serve() -> None:
        async with (
            receiving(*says, tls=tls) as receiver,
            nameserver(lambda _, kind: ["127.0.0.1"] if kind == 1 else []) as (_, port),
        ):
            found.append(Outside(receiver, port))
            is_there.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert is_there.wait(20)
        yield found[0]
    finally:
        stop.set()
        thread.join()


def run_locked(settings: AgentSettings, names: NameService, heard: int) -> str:
    """Run an exporter in a locked child; return its page once *heard* releases were taken.

    A destination that fails is waited for until it has failed three times.
    It fails if Python looks for any module after the lock.
    """
    reader_end, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    late: list[str] = []

    class Note:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            late.append(name)

    def lock(**given: object) -> None:
        partial(enter_sandbox, Half.EXPORTER, SETTINGS)(**given)  # type: ignore[arg-type]
        sys.meta_path.insert(0, Note)

    def work() -> str:
        NameService.of_this_host = classmethod(lambda _: names)  # type: ignore[method-assign,assignment]
        listener = socket.create_server(("127.0.0.1", 0))
        given = Surroundings(
            reader=exporter_end,
            classes=lambda: settings.classes,
            lifeline=Lifeline(None),
            manager=ServiceManager({}),
            listeners=[listener],
            pushing=Pushing.of(settings, Quick()),
        )
        shown: list[str] = []
        opened = all_destinations.Destinations.opened

        def watched(*arguments: object) -> object:
            made = opened(*arguments)  # type: ignore[arg-type]
            loop = asyncio.get_running_loop()

            def look() -> None:
                health = made.health(before=1 << 40)
                if all(each.sent + each.dropped >= heard or each.failed > 2 for each in health):
                    shown.append(str(health))
                    # As SIGTERM does: the process may not send itself one.
                    reader_end.shutdown(socket.SHUT_RDWR)
                else:
                    loop.call_later(0.01, look)

            loop.call_soon(look)
            return made

        all_destinations.Destinations.opened = watched  # type: ignore[method-assign,assignment]

        async def run() -> None:
            async with asyncio.timeout(25):
                await run_exporter(settings.metrics, given, lock=lock)

        try:
            asyncio.run(run())
        except Exception as error:
            shown.append(f"{type(error).__name__}: {error}")
        if late:
            shown.append(f"looked for {late}")
        return "\n".join(shown)

    frames = [encode_frame(release(HOURS[-1]))]
    frames += [past_frame(trimmed(encode_frame(release(at)))) for at in HOURS[:-1]]
    for each in frames:
        reader_end.send(each)
    try:
        return in_child(work).said
    finally:
        exporter_end.close()
        reader_end.close()


GONE = "HalfEndedError: exporter: the reader is gone"
LINKS = "links: [{name: 'ppp*', class: l2tp}]\nnode: {name: fra-17, location: fra}\n"


def test_a_locked_exporter_pushes_to_an_address() -> None:
    with outside(Says(503), Says(400, body=b"no\n")) as there:
        settings = parse_config(f"{LINKS}push: [{{name: centre, url: '{there.receiver.url}'}}]")

        said = run_locked(settings, there.names, len(SENT))

    assert said.splitlines()[-1] == GONE, said
    assert "sent=4, failed=1, dropped=1" in said
    assert [each.at for each in there.receiver.heard] == [SENT[0], *SENT]


def test_a_locked_exporter_pushes_to_a_name_by_tls_with_a_certificate_and_a_token(
    public_folder: Path,
) -> None:
    Authority(public_folder, "servers").issue("server", x509.DNSName("collector.example"))
    Authority(public_folder, "clients").issue("node", x509.DNSName("fra-17"))
    (public_folder / "token").write_text("secret")
    for each in public_folder.iterdir():
        each.chmod(0o644)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public_folder / "server.crt", public_folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(public_folder / "clients.crt")

    with outside(tls=context) as there:
        url = there.receiver.url.replace("localhost", "collector.example")
        settings = parse_config(
            f"{LINKS}push: [{{name: centre, url: '{url}', ca_file: {public_folder}/servers.crt,"
            f" client_certificate: {{cert_file: {public_folder}/node.crt,"
            f" key_file: {public_folder}/node.key}}, bearer_token_file: {public_folder}/token}}]"
        )

        said = run_locked(settings, there.names, len(SENT))

    assert said.splitlines()[-1] == GONE, said
    assert "sent=5, failed=0, dropped=0" in said
    assert [each.at for each in there.receiver.heard] == SENT
    assert {each.headers["Authorization"] for each in there.receiver.heard} == {"Bearer secret"}


def test_a_locked_exporter_takes_up_a_new_token_and_goes_on_to_trust_the_systems_authorities(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, own = public_folder / "system", public_folder / "own"
    for each in (system, own):
        each.mkdir(mode=0o777)
    Authority(system, "servers").issue("server", x509.DNSName("collector.example"))
    (own / "token").write_text("first")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(system / "server.crt", system / "server.key")
    monkeypatch.setenv("SSL_CERT_FILE", str(system / "servers.crt"))

    def judge(heard: Heard) -> Says | None:
        (own / "token").write_text("second")
        return None if heard.headers["Authorization"] == "Bearer second" else Says(401)

    with outside(tls=context) as there:
        there.receiver.judge = judge
        url = there.receiver.url.replace("localhost", "collector.example")
        settings = parse_config(
            f"{LINKS}push: [{{name: centre, url: '{url}', bearer_token_file: {own}/token}}]"
        )

        said = run_locked(settings, there.names, len(SENT))

    assert said.splitlines()[-1] == GONE, said
    assert "sent=5, failed=0, dropped=0" in said
    assert [each.at for each in there.receiver.heard] == [SENT[0], *SENT]


@pytest.mark.parametrize("names_authorities", [True, False], ids=["its own", "the system's"])
def test_a_new_certificate_is_read_behind_the_lock(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch, *, names_authorities: bool
) -> None:
    system, own = public_folder / "system", public_folder / "own"
    for each in (system, own):
        each.mkdir(mode=0o777)
    Authority(system, "servers")
    monkeypatch.setenv("SSL_CERT_FILE", str(system / "servers.crt"))
    authorities = f", ca_file: {own}/clients.crt" if names_authorities else ""

    def issue() -> None:
        Authority(own, "clients").issue("node", x509.DNSName("fra-17"))
        for each in own.iterdir():
            each.chmod(0o644)

    def look() -> str:
        issue()
        (to,) = parse_config(
            f"push: [{{name: centre, url: 'https://192.0.2.1/', client_certificate:"
            f" {{cert_file: {own}/node.crt, key_file: {own}/node.key}}{authorities}}}]"
        ).push
        credentials = Credentials(to)
        first = credentials.tls
        issue()
        enter_sandbox(Half.EXPORTER, SETTINGS, way_out=WayOut.to([to], credentials.directories))
        credentials.locked()
        assert first is not None
        looked = credentials.look()
        assert credentials.tls is not None
        return f"{looked}, {credentials.tls is first}, {credentials.tls.cert_store_stats()}"

    assert in_child(look).said == "True, False, {'x509': 1, 'crl': 0, 'x509_ca': 1}"


def test_a_locked_exporter_goes_on_where_nothing_works(public_folder: Path) -> None:
    Authority(public_folder, "servers").issue("server", x509.DNSName("collector.example"))
    Authority(public_folder, "others")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public_folder / "server.crt", public_folder / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = gone.getsockname()[1]

    with outside() as there, outside(tls=context) as behind_tls:
        plain, tls = there.receiver.port, behind_tls.receiver.port
        settings = parse_config(
            f"{LINKS}push:\n"
            f"- {{name: works, url: 'http://localhost:{plain}/w'}}\n"
            f"- {{name: refused, url: 'http://127.0.0.1:{nobody}/w'}}\n"
            f"- {{name: longname, url: 'http://{'x' * 64}.example:{plain}/w'}}\n"
            f"- {{name: strange, url: 'https://collector.example:{tls}/w',"
            f" ca_file: {public_folder}/others.crt}}\n"
            f"- {{name: misnamed, url: 'https://other.example:{tls}/w',"
            f" ca_file: {public_folder}/servers.crt}}\n"
            f"- {{name: untold, url: 'http://127.0.0.1:{tls}/w'}}\n"
        )

        said = run_locked(settings, there.names, len(SENT))

    assert said.splitlines()[-1] == GONE, said
    assert "destination='works', sent=5, failed=0, dropped=0" in said
    assert said.count("sent=0") == 5
    assert [each.at for each in there.receiver.heard] == SENT
    assert behind_tls.receiver.heard == []
