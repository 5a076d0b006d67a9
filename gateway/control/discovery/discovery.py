"""Follows the names among the pods' addresses: each is asked again and again, and a pod stands for every answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from gateway.control.desired import PodPlace
from gateway.control.discovery import addresses
from gateway.control.discovery.addresses import Known
from gateway.control.discovery.resolver import NotResolved, Resolve
from gateway.control.events import Say

Show = Callable[[tuple[PodPlace, ...]], None]


class Discovery:
    """One task for each name; whoever probes the pods is shown those that the names stand for.

    Args:
        show: called with all pods, at once when other ones are followed and whenever a name stands for other addresses.
    """

    def __init__(self, show: Show, resolve: Resolve, say: Say) -> None:
        self._show = show
        self._resolve = resolve
        self._say = say
        self._places: tuple[PodPlace, ...] = ()
        self._known: dict[str, Known] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    def follow(self, places: Iterable[PodPlace]) -> None:
        """These are the pods from now on; names that stay keep what is known of them."""
        self._places = tuple(places)
        names = addresses.names_of(self._places)
        for gone in self._tasks.keys() - names:
            self._tasks.pop(gone).cancel()
            del self._known[gone]
        for name in sorted(names - self._tasks.keys()):
            self._known[name] = Known(look_at_s=time.monotonic())
            self._tasks[name] = asyncio.create_task(self._follow_name(name), name=f"resolve {name}")
        self._show_all()

    @property
    def unresolved(self) -> tuple[tuple[PodPlace, str], ...]:
        """The pods whose name stands for no address, and why; "" while nobody has answered yet."""
        return addresses.unresolved(self._places, self._known)

    async def first_look(self, within_s: float) -> None:
        """Return when every name was asked once, or when that takes too long."""
        try:
            async with asyncio.timeout(within_s):
                while not all(known.is_asked for known in self._known.values()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_name(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._known[name].look_at_s - time.monotonic())
            before = self._known[name]
            try:
                found = await self._resolve(name)
            except NotResolved as error:
                after = addresses.failed(before, str(error), time.monotonic())
            except Exception as error:  # a defect must not end the asking of this name for good
                after = addresses.failed(before, f"{type(error).__name__}: {error}", time.monotonic())
            else:
                after = addresses.answered(before, found, time.monotonic())
            self._known[name] = after
            self._tell(name, before, after)

    def _tell(self, name: str, before: Known, after: Known) -> None:
        self._news.set()
        if sentence := addresses.event(name, before, after):
            self._say(sentence)
        if (before.addresses, before.going) != (after.addresses, after.going):
            self._show_all()

    def _show_all(self) -> None:
        self._show(addresses.expanded(self._places, self._known))
