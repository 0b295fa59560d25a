"""Destinations as an operator writes them: what is refused, in the file's words."""

import pytest

from trafficd.config import parse_config
from trafficd.destinations import Destination
from trafficd.errors import ConfigError
from trafficd.exporter.moment import moment_seconds
from trafficd.wire.remote_write import Protocol

DAY = 24 * 3600
WORD = "write a lower-case word: a letter, then letters, digits, - or _, to 32"


def one(text: str) -> Destination:
    (found,) = parse_config(f"push: [{{{text}}}]").push
    return found


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse_config(f"push: [{text}]")
    return [each.partition(": ")[2] for each in refused.value.mistakes]


def test_a_name_and_a_url_are_enough() -> None:
    found = one("name: centre, url: 'https://traffic.example/api/v1/write'")

    assert found.protocol is Protocol.V1
    assert (found.max_age, found.timeout) == (31 * DAY, 30)
    assert (found.url.host, found.url.port, found.url.is_tls) == ("traffic.example", 443, True)
    assert found.files == ()


def test_every_key_is_read() -> None:
    found = one(
        "name: c, url: 'https://h/w', protocol: v2, basic_auth: {username: n, password_file: /p},"
        " client_certificate: {cert_file: /c, key_file: /k}, ca_file: /a,"
        " headers: {X-Scope-OrgID: vpn}, max_age: 7d, timeout: 10s"
    )

    assert found.protocol is Protocol.V2
    assert [str(each) for each in found.files] == ["/p", "/c", "/k", "/a"]
    assert dict(found.headers.by_name) == {"X-Scope-OrgID": "vpn"}
    assert (found.max_age, found.timeout) == (7 * DAY, 10)


@pytest.mark.parametrize(
    ("url", "host", "port", "has_name"),
    [
        ("http://127.0.0.1:9788/api/v1/write", "127.0.0.1", 9788, False),
        ("http://[2001:db8::1]/w", "2001:db8::1", 80, False),
        ("https://[::1]:8443/w?tenant=a", "::1", 8443, False),
        ("https://Traffic.example", "traffic.example", 443, True),
        ("http://localhost:1/", "localhost", 1, True),
    ],
)
def test_a_url_says_host_and_port(url: str, host: str, port: int, has_name: bool) -> None:
    found = one(f"name: c, url: '{url}'").url

    assert (found.host, found.port, found.has_name) == (host, port, has_name)
    assert found == url


@pytest.mark.parametrize(
    "url",
    ["ftp://h/", "h:80", "//h/w", "/api/v1/write", "http://", "http:///w", "http://h:0/",
     "http://h:99999/", "http://h:x/", "http://[::1/", "http://h/#a", "http://h /w",
     "http://zürich.example/", "", "unix:///run/x"],
)  # fmt: skip
def test_a_url_that_nothing_can_be_posted_to_is_refused(url: str) -> None:
    (told,) = mistakes(f"{{name: c, url: '{url}'}}")

    assert told.startswith(f"push[0].url: {url}: ")


@pytest.mark.parametrize("url", ["http://u:s3cret@h/", "https://s3cret@h/", "http://:s3cret@h/"])
def test_a_url_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    (told,) = mistakes(f"{{name: c, url: '{url}'}}")

    assert told == "push[0].url: holds a user or password, which a file should; use basic_auth"


def test_all_mistakes_are_told_at_once_each_at_its_place() -> None:
    assert mistakes(
        "{name: Centre, url: 'http://h/'}, {name: b, url: 'http://h/', ca_file: /a,"
        " bearer_token_file: /t, basic_auth: {username: u, password_file: /p}, max_age: 32d,"
        " timeout: 0s}, {url: 'http://h/', name: c, protocol: v3}"
    ) == [
        f"push[0].name: Centre: {WORD}",
        "push[1].basic_auth: a message has one Authorization; keep this or the token",
        "push[1].ca_file: is for https, and the url is http",
        "push[1].max_age: 32d: at least 10m, and at most 31d",
        "push[1].timeout: 0s: at least 1s, and at most 5m",
        "push[2].protocol: v3: write one of v1, v2",
    ]


def test_an_age_that_every_release_has_before_it_is_sent_is_refused() -> None:
    assert mistakes("{name: c, url: 'http://h/', max_age: 599s}") == [
        "push[0].max_age: 599s: at least 10m, and at most 31d"
    ]
    assert one("name: c, url: 'http://h/', max_age: 10m").max_age == 600
    # The latest moment of any node, at any window.
    latest = max(moment_seconds(f"node-{number}", DAY) for number in range(1000))
    assert 290 < latest <= 600 / 2


def test_a_destination_stands_here_once() -> None:
    told = mistakes("{name: c, url: 'http://h/'}, {name: c, url: 'http://i/'}")

    assert told == ["push: c: stands here twice; keep one"]


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ("{Host: x}", "header Host: set by trafficd itself; take it out"),
        ("{content-type: x}", "header content-type: set by trafficd itself; take it out"),
        ("{authorization: x}", "header authorization: set by trafficd itself; take it out"),
        ("{'X Y': x}", "header X Y: not a name that a header can have"),
        ("{'': x}", "header : not a name that a header can have"),
        ('{X-A: "a\\r\\nX-B: b"}', "header X-A: expected one line of plain ASCII text, in quotes"),
        ("{X-A: 7}", "header X-A: expected one line of plain ASCII text, in quotes"),
        ("{X-A: ''}", "header X-A: expected one line of plain ASCII text, in quotes"),
        ("{X-A: a, x-a: b}", "a header stands here twice; keep one"),
        ("[X-A]", "expected at most 16 headers, like {X-Scope-OrgID: vpn}"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(headers: str, told: str) -> None:
    (found,) = mistakes(f"{{name: c, url: 'http://h/', headers: {headers}}}")

    assert found.endswith(told)


@pytest.mark.parametrize("path", ["token", "./token", "", "/", "/etc/"])
def test_a_file_is_named_by_its_whole_path(path: str) -> None:
    (told,) = mistakes(f"{{name: c, url: 'http://h/', bearer_token_file: '{path}'}}")

    assert "write the whole path of a file" in told


@pytest.mark.parametrize("user", ["", "a:b"])
def test_a_user_that_basic_auth_cannot_name_is_refused(user: str) -> None:
    (told,) = mistakes(
        f"{{name: c, url: 'http://h/', basic_auth: {{username: '{user}', password_file: /p}}}}"
    )

    assert "a user is one line without a colon" in told
