"""The browser that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.browser import Browser, running_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, which takes seconds to start; every window of it is as new."""
    with running_browser() as running:
        yield running
