"""Every page by its path, and the files that a browser needs for them."""

from __future__ import annotations

from pathlib import Path

import msgspec
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from telemetry.hub import assets
from telemetry.hub.pages import dashboards, fleet, models, objectives, releases, traces
from telemetry.hub.pages.drawing import Page, sorry
from telemetry.hub.pages.headers import WithHeaders
from telemetry.hub.query import BadQuery
from telemetry.hub.reader import TooSlow

_HUB = Path(__file__).parents[1]


def routes() -> list[BaseRoute]:
    """Every page, and the files that a browser needs for them."""
    guarded = [Middleware(WithHeaders)]
    families = (models, objectives, traces, releases, fleet, dashboards)
    pages = {path: page for family in families for path, page in family.PAGES.items()}
    files = {"/static": _HUB / "static", "/vendored": assets.VENDORED}
    return [
        *(Route(path, _told(page), methods=["GET"], middleware=guarded) for path, page in pages.items()),
        # The folder of what is not ours is absent until it is fetched.
        *(Mount(path, StaticFiles(directory=at, check_dir=False), middleware=guarded) for path, at in files.items()),
    ]


def _told(page: Page) -> Page:
    """Return the page, or one that says why there is none."""

    async def answer(request: Request) -> Response:
        try:
            return await page(request)
        except BadQuery as wrong:
            return sorry(400, "This cannot be looked up", str(wrong))
        except TooSlow:
            return sorry(503, "This takes too long", "Narrow the filters: a shorter time, a model, a longer prefix.")
        except msgspec.ValidationError as wrong:
            return sorry(502, "The gateway's answer cannot be read", f"{wrong}. Do both run the same version?")

    return answer
