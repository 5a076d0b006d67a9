"""Feedback: reads what callers tell of earlier answers: ``POST /feedback``."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.copies.messages import LateLabel
from model_pod.wire.refusals import Refused

MAX_LABELS = 1000
MAX_LABEL_BYTES = 4096
_AS = '[{"request_id": "...", "label": ..., "observed_at": "2027-01-31T12:00:00Z"}]'


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    request_id: str
    label: msgspec.Raw
    observed_at: datetime | None = None


_one, _many = msgspec.json.Decoder(_Told), msgspec.json.Decoder(list[_Told])


def read_feedback(body: bytes) -> tuple[LateLabel, ...]:
    """Return the labels that a body tells: one object, or a list of them.

    Raises:
        Refused: malformed_body, with which entry and why.
    """
    try:
        told = _many.decode(body) if body.lstrip()[:1] == b"[" else [_one.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("malformed_body", f"labels are told as {_AS}: {error}") from error
    if len(told) > MAX_LABELS:
        raise Refused("malformed_body", f"{len(told)} labels are more than the {MAX_LABELS} that one request may tell")
    return tuple(_read(entry, place) for place, entry in enumerate(told))


def _read(told: _Told, place: int) -> LateLabel:
    label = bytes(told.label)
    if not _is_text(label):
        raise Refused("malformed_body", f"entry {place}: its label is not UTF-8")
    if not 0 < len(told.request_id) <= 128:
        raise Refused("malformed_body", f"entry {place}: request_id is the x-request-id of an answer")
    if len(label) > MAX_LABEL_BYTES:
        raise Refused("malformed_body", f"entry {place}: its label is longer than {MAX_LABEL_BYTES} bytes")
    observed = told.observed_at
    if observed is not None and observed.tzinfo is None:
        raise Refused("malformed_body", f"entry {place}: observed_at needs a time zone, such as Z")
    return LateLabel(told.request_id, label.decode(), observed.timestamp() if observed is not None else 0.0)


def _is_text(label: bytes) -> bool:
    # What is read as it stands has not been looked at.
    try:
        label.decode()
    except UnicodeDecodeError:
        return False
    return True
