"""Issuers' keys: fetched from true servers, told to workers, kept for a start without the issuer."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from gateway.control import jwks_files, jwks_keeper
from gateway.control.jwks_keeper import Fetch, JwksKeeper
from gateway.control.messages import IssuerKeys, UnknownKid
from gateway.control.worker_process import WorkerProcess
from gateway.decide.tokens import verify
from policies.snapshot.mesh import JwtIssuer
from tests.fakes.issuer import NOW_S, Issuer, SigningKey, trusted_issuer
from tests.fakes.jwks import JwksServer

SOON_S = 20.0
NO_WORKER = cast(WorkerProcess, None)  # whoever said it is not looked at


class Kept:
    """A keeper that runs, and what it told; ``on_published`` is called once, at the next time it tells something."""

    running: asyncio.Task[None]

    def __init__(self, state_dir: Path, fetch: Fetch | None) -> None:
        self.published: list[IssuerKeys] = []
        self.said: list[str] = []
        self.on_published: Callable[[], None] = lambda: None
        self.keeper = JwksKeeper(state_dir, self._publish, self.said.append, fetch)

    def _publish(self, keys: IssuerKeys) -> None:
        self.published.append(keys)
        once, self.on_published = self.on_published, lambda: None
        once()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(SOON_S):
            while not holds():
                assert not self.running.done(), self.running
                await asyncio.sleep(0)

    def told(self, text: str) -> bool:
        return any(text in line for line in self.said)


@asynccontextmanager
async def keeping(state_dir: Path, *issuers: JwtIssuer, fetch: Fetch | None = None) -> AsyncIterator[Kept]:
    kept = Kept(state_dir, fetch)
    kept.keeper.follow(issuers)
    kept.running = asyncio.create_task(kept.keeper.run())
    try:
        yield kept
    finally:
        kept.running.cancel()
        await asyncio.gather(kept.running, return_exceptions=True)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_keeper, "_LOOK_EVERY_S", 0.001)


def test_keys_are_fetched_told_and_verify_tokens(tmp_path: Path) -> None:
    issuer = Issuer()

    async def story() -> None:
        async with JwksServer(issuer.jwks()) as server, keeping(tmp_path, trusted_issuer(jwks_url=server.url)) as kept:
            await kept.until(lambda: IssuerKeys("corp", issuer.jwks()) in kept.published)
            shown = verify(issuer.keys[0].token().encode(), kept.keeper.trusted, NOW_S)
            assert shown.tenant_id == "ads-prod"
            assert kept.keeper.stale_s == {"corp": 0.0}
            assert kept.said == []

    run(story)


def test_a_start_without_the_issuer_lives_on_what_was_kept(tmp_path: Path) -> None:
    issuer = Issuer()

    async def story() -> None:
        async with JwksServer(issuer.jwks()) as server:
            at = trusted_issuer(jwks_url=server.url)
            async with keeping(tmp_path, at) as kept:
                await kept.until(lambda: jwks_files.recall(tmp_path, at))
        async with keeping(tmp_path, at) as kept:
            await kept.until(lambda: IssuerKeys("corp", issuer.jwks()) in kept.published)
            await kept.until(lambda: kept.told("cannot be fetched"))
            assert kept.told("ago serve for 1d")
            assert kept.keeper.stale_s["corp"] >= 0.0

    run(story)


def test_kept_keys_that_are_too_old_are_not_trusted(tmp_path: Path) -> None:
    issuer = Issuer()

    async def story() -> None:
        async with JwksServer(b"", "error") as server:
            at = trusted_issuer(jwks_url=server.url, keep_stale_s=3600.0)
            jwks_files.keep(tmp_path, at, issuer.jwks(), fetched_at_s=0.0)
            async with keeping(tmp_path, at) as kept:
                await kept.until(lambda: kept.told("its tokens are refused until they can"))
                assert kept.published == [IssuerKeys("corp", b"")]
                assert kept.told("are older than 1h: its tokens are refused")

    run(story)


def test_kept_keys_of_another_address_are_not_used(tmp_path: Path) -> None:
    jwks_files.keep(tmp_path, trusted_issuer(jwks_url="https://old.example/"), Issuer().jwks(), NOW_S)
    assert jwks_files.recall(tmp_path, trusted_issuer(jwks_url="https://new.example/")) is None


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{}"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    jwks_files.keep(tmp_path, trusted_issuer(), Issuer().jwks(), NOW_S)
    (kept,) = (tmp_path / "jwks").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_bytes(content)
    assert jwks_files.recall(tmp_path, trusted_issuer()) is None


@pytest.mark.parametrize(("turn", "why"), [("error", "it answers 503"), ("nonsense", "no JSON Web Key Set")])
def test_old_keys_stay_while_the_issuer_gives_no_new_ones(tmp_path: Path, turn: str, why: str) -> None:
    issuer = Issuer()

    async def story() -> None:
        async with (
            JwksServer(issuer.jwks()) as server,
            keeping(tmp_path, trusted_issuer(jwks_url=server.url, refresh_s=0.01)) as kept,
        ):
            await kept.until(lambda: kept.published[-1:] == [IssuerKeys("corp", issuer.jwks())])
            server.turn = turn
            await kept.until(lambda: kept.told(why))
            assert kept.published[-1] == IssuerKeys("corp", issuer.jwks())
            server.turn = ""
            await kept.until(lambda: kept.told("can be fetched again"))

    run(story)


def test_an_unknown_key_is_fetched_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.jwks_schedule.EXTRA_FETCH_EVERY_S", 0.0)
    old, new = SigningKey("old", "ES256"), SigningKey("new", "ES256")

    async def story() -> None:
        async with (
            JwksServer(Issuer([old]).jwks()) as server,
            keeping(tmp_path, trusted_issuer(jwks_url=server.url)) as kept,
        ):
            await kept.until(lambda: IssuerKeys("corp", Issuer([old]).jwks()) in kept.published)
            server.jwks = Issuer([old, new]).jwks()
            kept.keeper.said(NO_WORKER, UnknownKid("corp"))
            kept.keeper.said(NO_WORKER, UnknownKid("nobody"))
            await kept.until(lambda: IssuerKeys("corp", server.jwks) in kept.published)
            assert server.asked == 2

    run(story)


def test_many_unknown_keys_are_one_fetch(tmp_path: Path) -> None:
    async def story() -> None:
        issuer = Issuer()
        async with (
            JwksServer(issuer.jwks()) as server,
            keeping(tmp_path, trusted_issuer(jwks_url=server.url)) as kept,
        ):
            await kept.until(lambda: IssuerKeys("corp", issuer.jwks()) in kept.published)
            for _ in range(1000):
                kept.keeper.said(NO_WORKER, UnknownKid("corp"))
            for _ in range(200):
                await asyncio.sleep(0)
            assert server.asked == 1  # just now, so that not one more is due

    run(story)


def test_no_issuer_waits_for_another_that_does_not_answer(tmp_path: Path) -> None:
    issuer = Issuer()
    slow = trusted_issuer(name="slow", jwks_url="http://slow.example/")
    corp = trusted_issuer(jwks_url="http://corp.example/")

    async def story() -> None:
        asked: list[str] = []

        async def fetch(url: str) -> bytes:
            asked.append(url)
            if url == slow.jwks_url:
                await asyncio.Event().wait()
            return issuer.jwks()

        async with keeping(tmp_path, slow, corp, fetch=fetch) as kept:
            await kept.until(lambda: IssuerKeys("corp", issuer.jwks()) in kept.published)
            kept.keeper.follow((slow, replace(corp, jwks_url="http://new.example/")))
            assert kept.published[-1] == IssuerKeys("corp", b"")  # at once: nobody has looked for new ones yet
            assert [one.issuer.name for one in kept.keeper.trusted] == ["slow"]
            await kept.until(lambda: kept.published[-1] == IssuerKeys("corp", issuer.jwks()))
            assert asked.count(slow.jwks_url) == 1

    run(story)


def test_what_an_old_address_says_late_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    old, new = Issuer([SigningKey("old", "ES256")]), Issuer([SigningKey("new", "ES256")])
    corp = trusted_issuer(jwks_url="http://old.example/")

    async def story() -> None:
        late = asyncio.Event()

        async def fetch(url: str) -> bytes:
            if url == corp.jwks_url:
                await late.wait()
                return old.jwks()
            return new.jwks()

        async with keeping(tmp_path, corp, fetch=fetch) as kept:
            await kept.until(lambda: kept.published)
            kept.keeper.follow((replace(corp, jwks_url="http://new.example/"),))
            await kept.until(lambda: IssuerKeys("corp", new.jwks()) in kept.published)
            late.set()
            for _ in range(200):
                await asyncio.sleep(0)
            assert IssuerKeys("corp", old.jwks()) not in kept.published

    run(story)


def test_an_issuer_may_be_dropped_while_another_is_shown(tmp_path: Path) -> None:
    issuer = Issuer()
    first, second = (trusted_issuer(name=name, jwks_url=f"http://{name}.example/") for name in ("first", "second"))

    async def fetch(url: str) -> bytes:
        return issuer.jwks()

    async def story() -> None:
        async with keeping(tmp_path, first, second, fetch=fetch) as kept:
            kept.on_published = lambda: kept.keeper.follow((first,))
            await kept.until(lambda: IssuerKeys("first", issuer.jwks()) in kept.published)
            assert not kept.running.done()

    run(story)


def test_an_issuer_that_policy_drops_is_forgotten_everywhere(tmp_path: Path) -> None:
    async def story() -> None:
        issuer = Issuer()
        async with JwksServer(issuer.jwks()) as server:
            at = trusted_issuer(jwks_url=server.url)
            async with keeping(tmp_path, at) as kept:
                await kept.until(lambda: jwks_files.recall(tmp_path, at))
                kept.keeper.follow(())
                assert kept.published[-1] == IssuerKeys("corp", b"")
                assert kept.keeper.trusted == ()
                assert kept.keeper.stale_s == {}
                assert jwks_files.recall(tmp_path, at) is None

    run(story)


def test_what_a_new_address_says_is_kept_though_writing_down_the_old_ones_takes_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = trusted_issuer(jwks_url="http://old.example/")
    new = replace(old, jwks_url="http://new.example/")
    issuer, keep = Issuer(), jwks_files.keep
    is_asked, newer_is_written = threading.Event(), threading.Event()
    written: list[str] = []

    def slow_disk(state_dir: Path, one: JwtIssuer, *about: Any) -> None:
        is_asked.set()
        if one == old:
            newer_is_written.wait(0.2)
        keep(state_dir, one, *about)
        written.append(one.jwks_url)
        if one == new:
            newer_is_written.set()

    async def fetch(url: str) -> bytes:
        return issuer.jwks()

    async def story() -> None:
        monkeypatch.setattr(jwks_files, "keep", slow_disk)
        async with keeping(tmp_path, old, fetch=fetch) as kept:
            await kept.until(is_asked.is_set)
            kept.keeper.follow((new,))
            await kept.until(lambda: len(written) == 2)
            assert jwks_files.recall(tmp_path, new) is not None

    run(story)


def test_an_issuer_that_policy_drops_while_its_keys_are_written_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = trusted_issuer(jwks_url="http://corp.example/")
    issuer, keep = Issuer(), jwks_files.keep
    is_asked, goes_on, is_written = threading.Event(), threading.Event(), threading.Event()

    def slow_disk(*about: Any) -> None:
        is_asked.set()
        assert goes_on.wait(SOON_S)
        keep(*about)
        is_written.set()

    async def fetch(url: str) -> bytes:
        return issuer.jwks()

    async def story() -> None:
        monkeypatch.setattr(jwks_files, "keep", slow_disk)
        async with keeping(tmp_path, at, fetch=fetch) as kept:
            await kept.until(is_asked.is_set)
            kept.keeper.follow(())
            goes_on.set()
            await kept.until(is_written.is_set)
            await kept.until(lambda: jwks_files.recall(tmp_path, at) is None)

    run(story)


def test_keys_that_are_not_used_are_told_once(tmp_path: Path) -> None:
    issuer = Issuer()
    jwks = json.dumps({"keys": [issuer.keys[0].jwk(), {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}]}).encode()

    async def story() -> None:
        async with (
            JwksServer(jwks) as server,
            keeping(tmp_path, trusted_issuer(jwks_url=server.url, refresh_s=0.01)) as kept,
        ):
            await kept.until(lambda: server.asked >= 3)
            (line,) = kept.said
            assert "the key 'shared' has secret parts" in line

    run(story)
