"""Signs what webhooks are told, as Standard Webhooks has it: HMAC-SHA256 of an id, the moment and the body.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_KEY_BYTES: Final = range(24, 65)
# The one that is, and the one that was.
_MOST_KEYS: Final = 2


class BadKey(Exception):
    """What is kept for signing is no key; the message says why, and never what it is."""


def signed(secrets: str, message_id: str, at_s: float, body: bytes) -> dict[str, str]:
    """Return the header fields that prove who sent a body, and when.

    Args:
        secrets: one key, or two with a blank between while receivers go over from one to the other.
        message_id: the same whenever this message is sent again; without a full stop.

    Raises:
        BadKey: it is none.
    """
    keys = [_key(secret) for secret in secrets.split(" ") if secret]
    if not 0 < len(keys) <= _MOST_KEYS:
        raise BadKey(f"it holds {len(keys)} keys, and not one or two")
    moment = f"{at_s:.0f}"
    content = f"{message_id}.{moment}.".encode() + body
    signatures = (b64encode(hmac.digest(key, content, sha256)).decode() for key in keys)
    return {ID: message_id, TIMESTAMP: moment, SIGNATURE: " ".join(f"{_VERSION},{one}" for one in signatures)}


def _key(secret: str) -> bytes:
    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise BadKey('it holds no key, which is "whsec_" and base64 of 24 to 64 bytes')
    return key
