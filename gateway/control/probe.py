"""Asks every pod how it is, as often as policy says or as it needs, and reports what is to be believed."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable

import httpx
import msgspec

from gateway.control.desired import PodPlace
from gateway.control.pod_table import Finding, Foreign, Silence
from gateway.control.steadiness import Steady
from model_pod.wire.status import STATUS_PATH, PodState, PodStatus
from policies.snapshot.route import Health

# One that is not ready is waited for; one that is tells the workers by its link and its answers when it no longer is.
PROBE_EVERY_S = 0.2
READY_EVERY_S = 0.5
ANSWER_WITHIN_S = 1.0
# One costs 0.6 to 1.4 ms of CPU, measured: 25 a second are 3 % of a core, and 100 pods are each asked every 4 s.
PROBES_PER_S = 25.0
AT_ONCE = 32
_BODY_BYTES = 64 * 1024
# What a server that is not ours is asked, the first that it has: the Open Inference Protocol's path, TorchServe's.
_READY_PATHS = ("/v2/health/ready", "/ping")
_OK = 200
_NO_SUCH_PATH = (404, 405)
_SENT = "http11.send_request_body.complete"

_decode_status = msgspec.json.Decoder(PodStatus).decode

Report = Callable[[PodPlace, Finding, float], None]
"""Called with the pod, what is believed after the probe, and the monotonic time of the answer."""

Note = Callable[[str, object], Awaitable[None]]
"""Called with the name of each step of a request that begins or is complete."""


class PodProbes:
    """One probing task per pod; ``watch`` replaces the set of pods."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._tasks: dict[tuple[str, str, Health], asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        # Transports ask for one although no probe uses TLS; making one that loads certificates takes 20 ms.
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def watch(self, places: Iterable[PodPlace]) -> None:
        """Probe these pods from now on; those that stay are not disturbed."""
        wanted = {(place.name, place.address, place.health): place for place in places}
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key in wanted.keys() - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._probe_for_ever(wanted[key]), name=f"probe {key[0]}")

    async def stop(self) -> None:
        """End all probing."""
        tasks = list(self._tasks.values())
        self.watch(())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe_for_ever(self, place: PodPlace) -> None:
        steady = Steady(place.health)
        while True:
            # A transport whose request was cut off just before it connects counts that connection as in use for ever.
            async with _transport(place.address, self._no_tls) as transport:
                await self._probe_until_silent(place, transport, steady)

    async def _probe_until_silent(self, place: PodPlace, transport: httpx.AsyncHTTPTransport, steady: Steady) -> None:
        finding: Finding | None = None
        while not isinstance(finding, Silence):
            # A server that is not ours, and is well, is not bothered with a path that it does not have.
            is_ours = not (isinstance(finding, Foreign) and finding.is_ready)
            async with self._at_once:
                finding = await probe(transport, place.address, place.health.path, may_be_ours=is_ours)
            self._report(place, steady.after(finding), time.monotonic())
            await asyncio.sleep(pause_s(place.health, finding, len(self._tasks)))


def pause_s(health: Health, finding: Finding, pod_count: int) -> float:
    """Return how long to wait before a pod is asked again, of so many pods, after what it said last."""
    is_ready = finding.is_ready if isinstance(finding, Foreign) else _says_ready(finding)
    return max(health.every_s or (READY_EVERY_S if is_ready else PROBE_EVERY_S), pod_count / PROBES_PER_S)


def _says_ready(finding: PodStatus | Silence) -> bool:
    return isinstance(finding, PodStatus) and finding.state is PodState.READY


def _transport(address: str, no_tls: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    uds = address.removeprefix("unix:") if address.startswith("unix:") else None
    return httpx.AsyncHTTPTransport(verify=no_tls, uds=uds, limits=limits, trust_env=False)


async def probe(
    transport: httpx.AsyncHTTPTransport, address: str, path: str = "", *, may_be_ours: bool = True
) -> Finding:
    """Ask one pod; every way of not answering is a ``Silence``.

    Args:
        path: what a server that is not ours is asked; "" asks the usual ones.
        may_be_ours: ask it first for the account that our pods give of themselves.
    """
    origin = "http://pod" if address.startswith("unix:") else f"http://{address}"
    steps: list[str] = []

    async def note(step: str, _: object) -> None:
        steps.append(step)

    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            if may_be_ours:
                status, body = await _get(transport, origin + STATUS_PATH, note)
                if status == _OK and (account := _account(body)) is not None:
                    return account
            return await _ask_foreign(transport, origin, (path,) if path else _READY_PATHS, note)
    except TimeoutError:
        what = "no answer" if _SENT in steps else "it could not be asked"
        return Silence(f"{what} within {ANSWER_WITHIN_S:g} s", timed_out=True)
    except httpx.ConnectError:
        return Silence("nothing listens at its address", timed_out=False)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Silence(str(error) or type(error).__name__, timed_out=False)
    except Exception as error:  # a defect must not end the asking of this pod for good
        return Silence(f"{type(error).__name__}: {error}", timed_out=False)


async def _ask_foreign(transport: httpx.AsyncHTTPTransport, origin: str, paths: tuple[str, ...], note: Note) -> Foreign:
    for path in paths:
        status, _ = await _get(transport, origin + path, note)
        if status not in _NO_SUCH_PATH:
            return Foreign(status == _OK, path)
    return Foreign(is_ready=False, path=paths[0])


def _account(body: bytes) -> PodStatus | None:
    try:
        return _decode_status(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


async def _get(transport: httpx.AsyncHTTPTransport, url: str, note: Note) -> tuple[int, bytes]:
    request = httpx.Request("GET", url, extensions={"trace": note})
    response = await transport.handle_async_request(request)
    body = bytearray()
    try:
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > _BODY_BYTES:
                break
    finally:
        await response.aclose()
    return response.status_code, bytes(body)
