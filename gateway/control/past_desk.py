"""The desk for the past: finds a recorded request and the policy of its time, and has it explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.control import generation_archive
from gateway.decide.stage import Stage
from gateway.decisions.folder import FOLDER, find_record
from gateway.decisions.records import ID_BYTES
from gateway.trial.past import PastReport, past_report
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot


class PastDesk:
    """What is kept of past requests.

    Args:
        in_force: the policy by which requests are decided now.
        stages: by model, where its canaries stand now.
    """

    def __init__(
        self,
        state_dir: Path,
        in_force: Callable[[], Snapshot],
        stages: Callable[[], Mapping[str, Stage]] = dict[str, Stage],
    ) -> None:
        self._stages = stages
        self._state_dir = state_dir
        self._in_force = in_force

    def explain(self, request_id: str) -> PastReport:
        """Explain a request; it reads up to all records, so it is called in a thread.

        Raises:
            Refused: request_not_recorded.
        """
        sought = _id_bytes(request_id)
        record = find_record(self._state_dir / FOLDER, sought) if sought else None
        if record is None:
            raise Refused(
                "request_not_recorded",
                "No record of this request is kept: records appear a second after the answer, are kept for 24 hours "
                "at most, and there is none of a request whose caller was not known.",
            )
        then = generation_archive.recall(self._state_dir, record.ended.generation)
        return past_report(request_id, record, then, self._in_force(), self._stages())


def _id_bytes(request_id: str) -> bytes:
    try:
        found = bytes.fromhex(request_id)
    except ValueError:
        return b""
    return found if len(found) == ID_BYTES else b""
