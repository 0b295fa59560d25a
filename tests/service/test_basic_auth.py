import asyncio
import base64
import time
from pathlib import Path

import bcrypt
import pytest

from trafficd.service import basic_auth
from trafficd.service.basic_auth import Credentials
from trafficd.service.web_config import load_web_config


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (basic("prom:open: sesame"), True),
        (basic("prom:open: sesame").replace("Basic", "bAsIc"), True),
        (basic("zoë:pässword"), True),
        (basic("prom:wrong"), False),
        (basic("prom:"), False),
        (basic("prom"), False),
        (basic("Prom:open: sesame"), False),
        (basic("zoë:open: sesame"), False),
        (basic("nobody:open: sesame"), False),
        (basic("nobody:\0"), False),
        (basic(":"), False),
        (basic("prom:open: sesame").replace("Basic", "Bearer"), False),
        ("Basic", False),
        ("Basic ?", False),
        ("Basic zoë", False),
        ("", False),
        (None, False),
    ],
)
async def test_a_login_needs_a_user_and_that_users_password(
    header: str | None, expected: bool
) -> None:
    credentials = Credentials({"prom": hashed("open: sesame"), "zoë": hashed("pässword")})

    answers = [await credentials.allow(header) for _ in range(2)]

    assert answers == [expected, expected]


@pytest.mark.parametrize("variant", ["2a", "2b", "2y"])
async def test_the_hashes_of_htpasswd_and_its_relatives_are_understood(variant: str) -> None:
    credentials = Credentials({"prom": hashed("sesame").replace("$2b$", f"${variant}$")})

    assert await credentials.allow(basic("prom:sesame"))
    assert not await credentials.allow(basic("prom:wrong"))


async def test_a_password_counts_as_far_as_bcrypt_reads_it() -> None:
    credentials = Credentials({"prom": hashed("a" * 72)})

    assert await credentials.allow(basic("prom:" + "a" * 80))
    assert not await credentials.allow(basic("prom:" + "a" * 71))


def test_every_login_costs_as_much_as_the_dearest_hash() -> None:
    credentials = Credentials(
        {"low": hashed("a", 4), "middle": hashed("b", 6), "high": hashed("c", 9)}
    )

    work = [
        sum(2 ** int(each[4:6]) for each in credentials._hashes_to_check(user))
        for user in (b"low", b"middle", b"high", b"nobody", b"")
    ]

    assert work == [2**9] * 5


async def test_an_unknown_user_takes_the_time_of_a_known_one() -> None:
    credentials = Credentials({"low": hashed("a", 4), "high": hashed("c", 10)})
    seconds = {}

    for user in ("low", "high", "nobody"):
        before = time.process_time()
        assert not await credentials.allow(basic(f"{user}:wrong"))
        seconds[user] = time.process_time() - before

    # Six doublings lie between the two costs; a third of the time is far from either.
    assert min(seconds.values()) > max(seconds.values()) / 3


async def test_the_event_loop_goes_on_while_a_password_is_checked() -> None:
    credentials = Credentials({"prom": hashed("sesame", 10)})

    async with asyncio.TaskGroup() as group:
        check = group.create_task(credentials.allow(basic("prom:sesame")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        was_done = check.done()

    assert not was_done
    assert check.result()


async def test_a_verified_login_is_checked_once_and_kept_only_as_a_digest() -> None:
    credentials = Credentials({"prom": hashed("sesame")})
    assert await credentials.allow(basic("prom:sesame"))

    credentials._threads.shutdown()

    assert await credentials.allow(basic("prom:sesame"))
    with pytest.raises(RuntimeError):
        await credentials.allow(basic("prom:wrong"))
    assert "sesame" not in repr(vars(credentials))
    assert base64.b64encode(b"prom:sesame").decode() not in repr(vars(credentials))


async def test_the_digests_of_two_readings_have_nothing_in_common() -> None:
    hashes = {"prom": hashed("sesame")}
    one, other = Credentials(hashes), Credentials(hashes)

    for each in (one, other):
        assert await each.allow(basic("prom:sesame"))

    assert one._verified.keys().isdisjoint(other._verified)


async def test_the_logins_remembered_longest_unused_are_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(basic_auth, "REMEMBERED_LOGINS", 2)
    credentials = Credentials({user: hashed(user) for user in "abc"})

    for user in "abac":
        assert await credentials.allow(basic(f"{user}:{user}"))
    credentials._threads.shutdown()

    assert await credentials.allow(basic("a:a"))
    assert await credentials.allow(basic("c:c"))
    with pytest.raises(RuntimeError):
        await credentials.allow(basic("b:b"))


async def test_a_flood_of_wrong_logins_is_bounded_and_passes() -> None:
    credentials = Credentials({"prom": hashed("sesame"), "known": hashed("known")})
    assert await credentials.allow(basic("known:known"))

    async with asyncio.TaskGroup() as group:
        for number in range(basic_auth.WAITING_CHECKS):
            group.create_task(credentials.allow(basic(f"prom:{number}")))
        late = group.create_task(credentials.allow(basic("prom:sesame")))
        known = group.create_task(credentials.allow(basic("known:known")))

    assert not late.result()
    assert known.result()
    assert await credentials.allow(basic("prom:sesame"))


async def test_a_cancelled_check_gives_its_place_back() -> None:
    credentials = Credentials({"prom": hashed("sesame")})

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(credentials.allow(basic(f"prom:{number}")))
            for number in range(basic_auth.WAITING_CHECKS)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    assert await credentials.allow(basic("prom:sesame"))


async def test_a_changed_password_counts_from_the_next_reading(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{prom: {hashed('old')}}}")
    before = load_web_config(file)
    assert before.credentials is not None
    assert await before.credentials.allow(basic("prom:old"))

    file.write_text(f"basic_auth_users: {{prom: {hashed('new')}}}")
    after = load_web_config(file)

    assert before.is_stale()
    assert after.credentials is not None
    assert not await after.credentials.allow(basic("prom:old"))
    assert await after.credentials.allow(basic("prom:new"))
