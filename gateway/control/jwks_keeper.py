"""Keeps the keys of token issuers: fetches them in the background, tells every worker, and lives without the issuer."""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.control import jwks_files
from gateway.control.events import Say
from gateway.control.jwks_schedule import IssuerStanding, failed, fetched, stale_s, trusted_keys, wanted
from gateway.control.messages import FromWorker, IssuerKeys, UnknownKid
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from policies.snapshot.mesh import JwtIssuer
from policies.units import duration_text
from telemetry.logs.line import warning

if TYPE_CHECKING:
    from gateway.decide.tokens import Trusted

_LOOK_EVERY_S = 1.0
_MAX_TOLD = 5

Fetch = Callable[[str], Awaitable[bytes]]
"""Returns what is at an address; raises ``FetchFailed``."""


class JwksKeeper(WorkerListener):
    """The keys of every issuer of the generation in force.

    Args:
        publish: tells every worker, and each that starts later.
        fetch: for tests; the true one is imported when the first issuer is there.
    """

    def __init__(
        self, state_dir: Path, publish: Callable[[IssuerKeys], None], say: Say, fetch: Fetch | None = None
    ) -> None:
        self._state_dir = state_dir
        self._publish = publish
        self._say = say
        self._fetch = fetch
        self._issuers: dict[str, JwtIssuer] = {}
        self._standings: dict[str, IssuerStanding] = {}
        self._since_s: dict[str, float] = {}
        self._published: dict[str, bytes] = {}
        self._trusted: dict[str, Trusted] = {}
        self._unused: dict[str, tuple[str, ...]] = {}
        self._fetches: dict[str, tuple[JwtIssuer, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._keeping = asyncio.Lock()

    @property
    def stale_s(self) -> dict[str, float]:
        """For how long each issuer's keys have been older than they should be; 0.0 while fetches succeed."""
        now_s = time.monotonic()
        return {name: stale_s(one, self._since_s[name], now_s) for name, one in self._standings.items()}

    @property
    def trusted(self) -> tuple[Trusted, ...]:
        """Every issuer whose tokens can be verified now, with its keys."""
        return tuple(self._trusted.values())

    def follow(self, issuers: Iterable[JwtIssuer]) -> None:
        """Keep the keys of these issuers from now on; one whose address is another begins anew."""
        following = {issuer.name: issuer for issuer in issuers}
        for name in self._issuers.keys() - following.keys():
            self._forget(name)
        for name, issuer in following.items():
            before = self._issuers.get(name)
            if before == issuer:
                continue
            self._issuers[name] = issuer
            self._since_s[name] = time.monotonic()
            self._published.pop(name, None)
            if before is None or before.jwks_url != issuer.jwks_url:
                self._standings[name] = self._recalled(issuer)
            if before is not None and before.jwks_url != issuer.jwks_url:
                # What the old address said proves nothing from now on, however long the new one takes to answer.
                self._publish(IssuerKeys(name, b""))
                self._trusted.pop(name, None)
            self._wake.set()

    def _forget(self, name: str) -> None:
        self._publish(IssuerKeys(name, b""))
        for of_issuer in (self._issuers, self._standings, self._since_s, self._published, self._trusted, self._unused):
            of_issuer.pop(name, None)
        self._fetches.pop(name, None)
        self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            jwks_files.forget(self._state_dir, name)
        except OSError as error:
            self._say(warning(f"the kept keys of the issuer {name} cannot be removed: {error.strerror}"))

    def _recalled(self, issuer: JwtIssuer) -> IssuerStanding:
        """What was kept is as old as the wall clock says, and never from the future."""
        kept = jwks_files.recall(self._state_dir, issuer)
        if kept is None:
            return IssuerStanding()
        age_s = max(0.0, time.time() - kept.fetched_at_s)
        return IssuerStanding(jwks=kept.jwks, fetched_s=time.monotonic() - age_s)

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """A token that names an unknown key brings the next fetch forward."""
        if isinstance(message, UnknownKid) and message.issuer in self._standings:
            before = self._standings[message.issuer]
            self._standings[message.issuer] = after = wanted(before, time.monotonic())
            if after.next_s != before.next_s:
                self._wake.set()

    async def run(self) -> None:
        """Fetch what is due, for ever; no issuer waits for what another takes to answer."""
        async with asyncio.TaskGroup() as fetches:
            while True:
                self._wake.clear()
                for name in list(self._issuers):
                    await self._show(name)
                for issuer in self._due(time.monotonic()):
                    task = fetches.create_task(self._refresh(issuer))
                    task.add_done_callback(lambda _: self._wake.set())
                    self._fetches[issuer.name] = (issuer, task)
                await self._woken_within(_LOOK_EVERY_S)

    def _due(self, now_s: float) -> list[JwtIssuer]:
        """Return whose keys to fetch now, less those that are being fetched."""
        due = [issuer for name, issuer in self._issuers.items() if self._standings[name].next_s <= now_s]
        return [issuer for issuer in due if not self._is_being_fetched(issuer)]

    def _is_being_fetched(self, issuer: JwtIssuer) -> bool:
        fetched_for, task = self._fetches.get(issuer.name, (None, None))
        return task is not None and fetched_for == issuer and not task.done()

    async def _woken_within(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _refresh(self, issuer: JwtIssuer) -> None:
        name = issuer.name
        try:
            jwks = await self._fetched(issuer)
        except _NotFetched as error:
            if self._issuers.get(name) == issuer:
                self._note_failure(issuer, str(error))
            return
        if self._issuers.get(name) != issuer:
            return  # policy has changed meanwhile
        if self._standings[name].failures:
            self._say(f"the keys of the issuer {name} can be fetched again")
        now_s = time.monotonic()
        self._standings[name] = fetched(self._standings[name], issuer, jwks, now_s, random.random())
        await self._keep(issuer, jwks)

    async def _keep(self, issuer: JwtIssuer, jwks: bytes) -> None:
        """Keep fetched keys for the next start, unless policy changes meanwhile: what it says last is what stays."""
        name = issuer.name
        async with self._keeping:
            if self._issuers.get(name) != issuer:
                return
            try:
                await asyncio.to_thread(jwks_files.keep, self._state_dir, issuer, jwks, time.time())
            except OSError as error:
                self._say(warning(f"the keys of the issuer {name} cannot be kept for the next start: {error.strerror}"))
            if name not in self._issuers:
                self._remove(name)

    async def _fetched(self, issuer: JwtIssuer) -> bytes:
        """Return a key set that can be read; importing what fetches and reads it takes too long for the loop."""
        fetching = await asyncio.to_thread(importlib.import_module, "gateway.control.jwks_fetch")
        reading = await asyncio.to_thread(importlib.import_module, "gateway.decide.issuer_keys")
        try:
            jwks: bytes = await (self._fetch or fetching.fetch_jwks)(issuer.jwks_url)
            await asyncio.to_thread(reading.read_keys, jwks, issuer)
        except (fetching.FetchFailed, reading.KeysUnreadable) as error:
            raise _NotFetched(str(error)) from error
        return jwks

    def _note_failure(self, issuer: JwtIssuer, why: str) -> None:
        standing = self._standings[issuer.name]
        now_s = time.monotonic()
        if not standing.failures:
            kept = (
                f"those of {duration_text(round(now_s - standing.fetched_s))} ago serve for "
                f"{duration_text(issuer.keep_stale_s)}"
                if trusted_keys(standing, issuer, now_s)
                else "its tokens are refused until they can"
            )
            self._say(warning(f"the keys of the issuer {issuer.name} cannot be fetched ({why}); {kept}"))
        self._standings[issuer.name] = failed(standing, issuer, now_s, random.random())

    async def _show(self, name: str) -> None:
        """Tell workers the keys if they are others than those told last."""
        issuer = self._issuers.get(name)
        if issuer is None:
            return  # policy dropped it while another was shown
        standing = self._standings[name]
        jwks = trusted_keys(standing, issuer, time.monotonic())
        if self._published.get(name) == jwks:
            return
        if standing.jwks and not jwks:
            kept = duration_text(issuer.keep_stale_s)
            self._say(warning(f"the keys of the issuer {name} are older than {kept}: its tokens are refused"))
        trusted = await asyncio.to_thread(_trusted, issuer, jwks)
        if self._issuers.get(name) != issuer:
            return
        self._published[name] = jwks
        self._publish(IssuerKeys(name, jwks))
        self._trusted[name] = trusted
        self._say_unused(name, trusted.ring.unused)

    def _say_unused(self, name: str, unused: tuple[str, ...]) -> None:
        if unused and self._unused.get(name) != unused:
            self._say(warning(f"of the keys of the issuer {name} some are not used: {'; '.join(unused[:_MAX_TOLD])}"))
        self._unused[name] = unused


class _NotFetched(Exception):
    """There is no new key set; the message says why."""


def _trusted(issuer: JwtIssuer, jwks: bytes) -> Trusted:
    """Read the keys, in a thread: what does that takes 50 ms to import, and a mesh without issuers never does."""
    from gateway.decide.issuer_keys import NO_KEYS, KeysUnreadable, read_keys
    from gateway.decide.tokens import Trusted

    try:
        return Trusted(issuer, read_keys(jwks, issuer) if jwks else NO_KEYS)
    except KeysUnreadable:  # a kept file that somebody has damaged: the next fetch mends it
        return Trusted(issuer, NO_KEYS)
