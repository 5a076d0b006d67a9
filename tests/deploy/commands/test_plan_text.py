"""Plans in sentences: what is told of shares."""

import pytest

from deploy.commands.plan_text import share_text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0%"),
        (0.0004, "under 0.1%"),
        (0.001, "0.1%"),
        (0.4808, "48.1%"),
        (0.9996, "over 99.9%"),
        (1.0, "100.0%"),
    ],
)
def test_a_share_has_one_decimal_and_is_never_rounded_to_nothing_or_all(share: float, text: str) -> None:
    assert share_text(share) == text
