"""A real browser without a window, which notes everything that a page should not do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import ConsoleMessage, Page, Request, Response, Route, sync_playwright

PROGRAM = "chromium"
_WITHIN_MS = 60_000

Theme = Literal["light", "dark"]


@dataclass
class Window:
    """One window of the browser.

    Attributes:
        page: Playwright's, for what is not here.
        complaints: what the console said of errors, content that the policy refused included.
        strangers: addresses off the origin that a page asked for; none of them is let through.
        refused: answers of 400 and more, as status and path.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        """Open a page and wait until its scripts have run."""
        self.page.goto(url)
        self.page.wait_for_selector("html.has-script")
        self.page.wait_for_load_state("networkidle")

    def text(self, selector: str = "main") -> str:
        """Return the text that a reader sees there."""
        return self.page.inner_text(selector)

    def press(self, *keys: str) -> None:
        """Press keys one after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def screenshot(self, path: Path, *, is_whole: bool = True) -> None:
        """Keep a picture of the whole page, or of what the window shows of it."""
        self.page.screenshot(path=path, full_page=is_whole)


class Browser:
    """One Chromium for many tests, each of which has windows with nothing of the others in them."""

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium

    @contextmanager
    def __call__(
        self, theme: Theme = "light", width_px: int = 1280, height_px: int = 800, scripts: bool = True
    ) -> Iterator[Window]:
        """Open one window.

        Args:
            scripts: whether pages may run any.
        """
        context = self._chromium.new_context(
            color_scheme=theme, viewport={"width": width_px, "height": height_px}, java_script_enabled=scripts
        )
        try:
            context.set_default_timeout(_WITHIN_MS)
            window = Window(context.new_page())
            _listen(window)
            yield window
        finally:
            context.close()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser; no other event loop can run in this thread meanwhile."""
    with sync_playwright() as playwright:
        # Chromium refuses to run as root with its sandbox; in containers tests often do.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=shutil.which(PROGRAM), args=options)
        try:
            yield Browser(chromium)
        finally:
            chromium.close()


def _listen(window: Window) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            window.complaints.append(message.text)

    def on_response(response: Response) -> None:
        if response.status >= 400:
            window.refused.append(f"{response.status} {urlsplit(response.url).path}")

    def on_route(route: Route, request: Request) -> None:
        home = urlsplit(window.page.url)
        asked = urlsplit(request.url)
        is_first = request.is_navigation_request()
        if is_first or asked.scheme == "data" or (asked.scheme, asked.netloc) == (home.scheme, home.netloc):
            route.continue_()
        else:
            window.strangers.append(request.url)
            route.abort()

    window.page.on("console", on_console)
    window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
    window.page.on("response", on_response)
    window.page.route("**/*", on_route)
