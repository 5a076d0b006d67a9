"""Decides when what probes find of a pod is believed: after so many findings in a row, as policy says."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.pod_table import Finding, Foreign, Silence
from model_pod.wire.status import PodState, PodStatus
from policies.snapshot.route import Health


class Steady:
    """What is believed of one pod.

    What a pod of ours says of itself when it is not ready is believed at once: it is an account and no guess.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._believed: Finding | None = None
        self._against = 0

    def after(self, finding: Finding) -> Finding:
        """Return what is believed after this finding."""
        before = self._believed
        if before is None or _is_up(finding) == _is_up(before) or _is_account_of_trouble(finding):
            self._against = 0
            self._believed = finding
            return finding
        self._against += 1
        if self._against < (self._health.up_after if _is_up(finding) else self._health.down_after):
            return before
        self._against = 0
        # It was silent as often as policy asks for, so there is nothing more to wait for.
        is_counted = isinstance(finding, Silence) and self._health.down_after > 0
        self._believed = replace(finding, timed_out=False) if is_counted else finding
        return self._believed


def _is_up(finding: Finding) -> bool:
    match finding:
        case PodStatus():
            return finding.state is PodState.READY
        case Foreign():
            return finding.is_ready
        case Silence():
            return False


def _is_account_of_trouble(finding: Finding) -> bool:
    return isinstance(finding, PodStatus) and finding.state is not PodState.READY
