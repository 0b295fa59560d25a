"""Nodes that show a certificate instead of a token, and users who may read pages: real TLS."""

import asyncio
import base64
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import bcrypt
import pytest
from aiohttp import ClientSession
from cryptography import x509

from tests.collector.pushing import (
    AMS,
    FRA,
    OLD,
    TOKENS,
    Collected,
    collecting,
    headers,
    push,
    request,
)
from tests.service.test_web_config import LOCALHOST, Authority
from trafficd.service.web_config import load_web_config

TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key"
VERIFIED = f"{TLS}, client_ca_file: clients.crt, client_auth_type: VerifyClientCertIfGiven}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the certificates of a server and of clients; those of two are a stranger's."""
    Authority(tmp_path, "ca").issue("server", LOCALHOST)
    clients = Authority(tmp_path, "clients")
    clients.issue("fra", x509.DNSName(FRA.name))
    clients.issue("old", x509.DNSName(OLD.name))
    clients.issue("both", x509.DNSName(FRA.name), x509.DNSName(AMS.name))
    clients.issue("unknown", x509.DNSName("gone-1"))
    clients.issue("common-name-only")
    clients.issue("wild", x509.DNSName("*"), x509.DNSName("fra-*"))
    clients.issue("mail", x509.RFC822Name(FRA.name))
    Authority(tmp_path, "strangers").issue("forged", x509.DNSName(FRA.name))
    return tmp_path


@asynccontextmanager
async def serving(folder: Path, text: str) -> AsyncIterator[Collected]:
    (folder / "web.yml").write_text(text)
    async with collecting(web=load_web_config(folder / "web.yml")) as served:
        yield served


def shown(folder: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


async def ask(
    served: Collected,
    context: ssl.SSLContext,
    asked: Mapping[str, str],
    *,
    path: str = "/api/v1/write",
    chunked: bool = False,
) -> int:
    """Return the status of a push, or of a page."""
    url = f"https://localhost:{served.port}{path}"
    async with ClientSession() as client:
        if path != "/api/v1/write":
            async with client.get(url, ssl=context, headers=asked) as page:
                return page.status
        body = push()
        async with client.post(
            url, data=body, ssl=context, headers=asked, chunked=chunked or None
        ) as answer:
            return answer.status


@pytest.mark.parametrize("chunked", [False, True], ids=["usual", "unusual"])
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("fra", 204),
        ("old", 403),
        ("both", 401),
        ("unknown", 401),
        ("common-name-only", 401),
        ("mail", 401),
        (None, 401),
    ],
)
async def test_a_certificate_writes_for_the_node_that_it_names(
    folder: Path, name: str | None, status: int, chunked: bool
) -> None:
    async with serving(folder, VERIFIED) as served:
        answered = await ask(served, shown(folder, name), headers(None), chunked=chunked)

    assert answered == status
    assert [number for number, _ in served.stored] == [FRA.number] * (status == 204)


async def test_a_certificate_writes_for_no_other_node(folder: Path) -> None:
    asked = headers(None)
    async with serving(folder, VERIFIED) as served, ClientSession() as client:
        url = f"https://localhost:{served.port}/api/v1/write"
        async with client.post(
            url, data=push(node=AMS), ssl=shown(folder, "fra"), headers=asked
        ) as answer:
            status, reason = answer.status, await answer.text()

    assert status == 400
    assert "this credential is for fra-1" in reason
    assert served.stored == []


async def test_a_certificate_that_nobody_trusted_signed_gets_no_word(folder: Path) -> None:
    async with serving(folder, VERIFIED) as served:
        with pytest.raises(OSError, match=r".*"):
            await ask(served, shown(folder, "forged"), headers(None))

    assert served.stored == []


async def test_a_certificate_means_nothing_where_none_is_verified(folder: Path) -> None:
    async with serving(folder, f"{TLS}}}\n") as served:
        assert await ask(served, shown(folder, "fra"), headers(None)) == 401
        assert await ask(served, shown(folder, "fra"), headers()) == 204


async def test_a_token_counts_before_a_certificate(folder: Path) -> None:
    wrong = {**headers(), "Authorization": "Bearer guess"}

    async with serving(folder, VERIFIED) as served:
        assert await ask(served, shown(folder, "fra"), wrong) == 401
        assert await ask(served, shown(folder, "unknown"), headers()) == 204


@pytest.mark.parametrize("chunked", [False, True], ids=["usual", "unusual"])
async def test_names_that_are_not_allowed_may_not_even_write(folder: Path, chunked: bool) -> None:
    text = (
        f"{TLS}, client_ca_file: clients.crt, client_auth_type: RequireAndVerifyClientCert,"
        " client_allowed_sans: [fra-1]}\n"
    )

    async with serving(folder, text) as served:
        allowed = await ask(served, shown(folder, "fra"), headers(None), chunked=chunked)
        refused = await ask(served, shown(folder, "old"), headers(), chunked=chunked)

    assert (allowed, refused) == (204, 403)


async def test_users_may_read_pages_and_nodes_may_write(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(
        f'basic_auth_users: {{prometheus: "{hashed}"}}\n'
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )
    login = f"Basic {base64.b64encode(b'prometheus:secret').decode()}"

    async with collecting(web=load_web_config(file)) as served:
        page = "HEAD /metrics"
        answers = [
            await served.ask(request(b"", {}, line=page)),
            await served.ask(request(b"", {"Authorization": f"Bearer {TOKENS[FRA]}"}, line=page)),
            await served.ask(request(b"", {"Authorization": login}, line=page)),
            await served.ask(request(b"", {}, line="GET /healthz")),
            await served.ask(request(push(), headers())),
            await served.ask(request(push(), {**headers(None), "Authorization": login})),
        ]

    assert [answer.status for answer in answers] == [401, 401, 200, 200, 204, 401]
    assert {answer.headers["X-Frame-Options"] for answer in answers} == {"deny"}


@pytest.mark.parametrize(
    "path", ["/", "/fleet", "/what-if", "/api/v1/plan", "/static/0/site.css", "/nothing"]
)
async def test_the_plan_is_for_users_as_well(tmp_path: Path, path: str) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(f'basic_auth_users: {{planner: "{hashed}"}}\n')
    login = f"Basic {base64.b64encode(b'planner:secret').decode()}"

    async with collecting(web=load_web_config(file)) as served:
        refused = await served.ask(request(b"", {}, line=f"HEAD {path}"))
        allowed = await served.ask(request(b"", {"Authorization": login}, line=f"HEAD {path}"))

    assert refused.status == 401
    assert allowed.status in (503, 404)


async def test_strangers_who_begin_no_handshake_take_little_memory(folder: Path) -> None:
    strangers = 20
    async with serving(folder, f"{TLS}}}\n") as served, AsyncExitStack() as lines:
        before = len(asyncio.all_tasks())
        tracemalloc.start()
        try:
            for _ in range(strangers):
                await lines.enter_async_context(served.line())
            async with asyncio.timeout(10):
                # Each handshake that is waited for is a task of the loop.
                while len(asyncio.all_tasks()) < before + strangers:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    # As many as there may be descriptors fit into the unit's MemoryMax.
    assert held < strangers * 64_000
