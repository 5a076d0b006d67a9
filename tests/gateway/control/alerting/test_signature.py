"""Bodies are signed as Standard Webhooks has it, and the receiver that the guide shows finds out what is not ours."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.control.alerting.signature import ID, SIGNATURE, TIMESTAMP, BadKey, signed

GUIDE = Path(__file__).parents[4] / "docs" / "how-to" / "alerts.md"
KEY, OTHER_KEY = ("whsec_" + b64encode(bytes([number]) * 32).decode() for number in (1, 2))
BODY = b'{"version": "4"}'

Check = Callable[[str, dict[str, str], bytes], bool]


@pytest.fixture(scope="module")
def is_from_the_mesh() -> Check:
    """The receiver's half, as the guide shows it."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own documentation
    check: Check = names["is_from_the_mesh"]
    return check


def test_it_is_what_the_standard_has_as_its_example() -> None:
    """Of the test data of the standard's own libraries."""
    fields = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.0, b'{"test": 2432232314}'
    )
    assert fields == {
        ID: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        TIMESTAMP: "1614265330",
        SIGNATURE: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_receiver_of_the_guide_believes_us(is_from_the_mesh: Check) -> None:
    assert is_from_the_mesh(KEY, signed(KEY, "a", time.time(), BODY), BODY)
    assert is_from_the_mesh(f"{KEY}\n", signed(KEY, "a", time.time(), BODY), BODY)


@pytest.mark.parametrize("known", [KEY, OTHER_KEY], ids=["the new key", "the old key"])
def test_with_two_keys_receivers_of_either_believe_us(known: str, is_from_the_mesh: Check) -> None:
    assert is_from_the_mesh(known, signed(f"{KEY} {OTHER_KEY}", "a", time.time(), BODY), BODY)


def test_it_believes_no_other_body_id_key_or_moment(is_from_the_mesh: Check) -> None:
    fields = signed(KEY, "a", time.time(), BODY)
    assert not is_from_the_mesh(KEY, fields, BODY + b" ")
    assert not is_from_the_mesh(KEY, fields | {ID: "b"}, BODY)
    assert not is_from_the_mesh(OTHER_KEY, fields, BODY)
    assert not is_from_the_mesh(KEY, fields | {TIMESTAMP: str(int(fields[TIMESTAMP]) + 1)}, BODY)
    assert not is_from_the_mesh(KEY, signed(KEY, "a", time.time() - 301, BODY), BODY)


@pytest.mark.parametrize(
    "kept",
    [
        "",
        " ",
        "hunter2",
        KEY.removeprefix("whsec_"),
        "whsec_" + b64encode(bytes(23)).decode(),
        "whsec_" + b64encode(bytes(65)).decode(),
        "whsec_not base64!",
        f"{KEY} {KEY} {KEY}",
    ],
)
def test_what_is_no_key_signs_nothing_and_is_not_quoted(kept: str) -> None:
    with pytest.raises(BadKey) as bad:
        signed(kept, "a", 0.0, BODY)
    assert "hunter2" not in str(bad.value)
