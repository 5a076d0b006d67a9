"""Decides how busy a pod keeps its device, from what the pod says again and again of the time that batches held it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from telemetry.machine_conventions import DEVICE_BUSY, DEVICE_BUSY_SECONDS, LOOP_LAG
from telemetry.sidecar.account import PodAccount
from telemetry.sidecar.machine.processes import SERVER
from telemetry.sidecar.samples import Sample

OVER_S = 60.0
# A pod is asked ten times a second at most.
_TOLD = 601


class _Told(Struct, frozen=True):
    at_s: float
    held_s: float
    running_s: float

    @property
    def busy_s(self) -> float:
        """Time that batches held the device, with what the one that runs has held it for until now."""
        return self.held_s + self.running_s


class DeviceBusy:
    """What a pod said of its device in the last minute."""

    def __init__(self) -> None:
        self._told: deque[_Told] = deque(maxlen=_TOLD)
        self._last: PodAccount | None = None

    def heed(self, account: PodAccount | None, now_s: float) -> None:
        """Take what the pod says; None when it is silent, and then nothing is known until it has spoken twice."""
        is_another = account is None or (self._last is not None and _is_another(account, self._last))
        if is_another:
            self._told.clear()
        self._last = account
        if account is None or not account.device:
            return
        self._told.append(_Told(now_s, account.device_s, account.running_s))
        while len(self._told) > 2 and self._told[1].at_s <= now_s - OVER_S:
            self._told.popleft()

    def samples(self) -> Iterator[Sample]:
        """Yield how busy the device is; nothing while the pod is silent or has no device yet."""
        account = self._last
        if account is None:
            return
        pod = (account.model, account.version)
        yield Sample(LOOP_LAG, (SERVER, *pod), account.loop_lag_s)
        if not account.device:
            return
        yield Sample(DEVICE_BUSY_SECONDS, (*pod, account.device), account.device_s)
        if len(self._told) > 1:
            first, last = self._told[0], self._told[-1]
            ratio = (last.busy_s - first.busy_s) / max(1e-9, last.at_s - first.at_s)
            yield Sample(DEVICE_BUSY, (*pod, account.device), min(1.0, max(0.0, ratio)))


def _is_another(account: PodAccount, before: PodAccount) -> bool:
    """Whether the pod began anew, or is on another device."""
    return account.device != before.device or account.device_s < before.device_s or account.pid != before.pid
