"""What one request used, and how that is read from a pod's ``penstock-usage``: ``device_us=812;…;tokens=17``."""

from __future__ import annotations

import re

from msgspec import Struct

NOT_TOLD = -1
# As our pods write it; found in two thirds of the time that any other order takes.
_AS_OURS = re.compile(rb"device_us=([0-9]{1,12});batch=[0-9]{1,12};queue_us=[0-9]{1,12}(?:;tokens=([0-9]{1,12}))?")
# At most 12 digits: eleven days of a device, or more tokens than any request has. A longer number is no usage.
_COSTS = re.compile(rb"(?:^|;) ?(device_us|tokens)=([0-9]{1,12})(?= ?(?:;|$))")
# Ours is some 60 bytes; no more is looked at.
_MOST_BYTES = 256


class Usage(Struct, frozen=True):
    """What one request used.

    Attributes:
        device_us: microseconds of devices; ``NOT_TOLD`` when no pod said, as when none was asked.
        tokens: as the model's handler counted them; 0 when it did not.
        request_bytes, response_bytes: of the two bodies.
    """

    device_us: int = NOT_TOLD
    tokens: int = 0
    request_bytes: int = 0
    response_bytes: int = 0


NOTHING_USED = Usage()


def read_usage(value: bytes) -> tuple[int, int]:
    """Return microseconds of devices and tokens, ``(NOT_TOLD, 0)`` as far as the header does not tell them."""
    ours = _AS_OURS.fullmatch(value)
    if ours is not None:
        device_digits, token_digits = ours.group(1, 2)
        return int(device_digits), int(token_digits) if token_digits else 0
    device_us, tokens = NOT_TOLD, 0
    for name, digits in _COSTS.findall(value, 0, _MOST_BYTES):
        if name == b"tokens":
            tokens = int(digits)
        else:
            device_us = int(digits)
    return device_us, tokens
