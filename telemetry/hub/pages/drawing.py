"""Draws a page of its template, and the page that says why there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from telemetry.hub import assets
from telemetry.hub.shown import formats

# How often a page looks again while it is seen.
LIVE_S = 3
LIST_LIVE_S = 5

_TEMPLATES = Path(__file__).parents[1] / "templates"

_DRAWING = ThreadPoolExecutor(2, "pages")
"""What may have many rows is drawn here, while the loop answers others."""

Page = Callable[[Request], Awaitable[Response]]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (
        formats.count,
        formats.date,
        formats.duration,
        formats.moment,
        formats.path_segment,
        formats.first_sentence,
        formats.factor,
        formats.window,
        formats.success,
    )
    environment.filters |= {shower.__name__: shower for shower in (*shown, formats.rate, formats.share)}
    return environment


_ENVIRONMENT = _environment()


def draw_page(template: str, status: int = 200, *, error: str = "", refresh_s: int = 0, **shown: object) -> Response:
    """Return a page.

    Args:
        error: why what is shown is old; "" when it is not.
        refresh_s: how often the page looks again while it is seen; 0 for never.
    """
    frame = {"error": error, "refresh_s": refresh_s, "has_assets": assets.are_installed(), "made_s": time.time()}
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(frame | shown), status)


def sorry(status: int, title: str, sentence: str, refresh_s: int = 0) -> Response:
    """Return a page that says why there is none."""
    return draw_page("sorry.html", status, title=title, sentence=sentence, refresh_s=refresh_s)


async def draw_in_thread(draw: Callable[[], Response]) -> Response:
    """Return a page that is drawn beside the loop."""
    return await asyncio.get_running_loop().run_in_executor(_DRAWING, draw)
