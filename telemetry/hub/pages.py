"""The hub's pages: HTML that is whole without a script, from the same answers that the JSON API gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import jinja2
import msgspec
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.hub import assets
from telemetry.hub.query import BadQuery
from telemetry.hub.reader import TooSlow
from telemetry.hub.shown import formats
from telemetry.hub.shown.answers import Objective, Overview, Trace, TraceList
from telemetry.hub.shown.objectives import SPANS_S, firing_rows, model_cards, objective_row, objective_rows
from telemetry.hub.shown.trace_list import FILTERS, LAST_S, LIMITS, list_view, trace_row, wanted
from telemetry.hub.shown.waterfall import trace_view

Json = dict[str, Any]
"""An answer of the JSON API, as ``GET /api/...`` sends it."""

HEADERS = {
    # Nothing from elsewhere, no script or style in the page itself: what a span says cannot become either.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

_HERE = Path(__file__).parent
_TRACES_OF_A_MODEL = "10"
_LIVE_S = 3
_LIST_LIVE_S = 5
# To change a thousand lines takes a browser most of a second.
_LONG_LIST = 200
_LONG_LIST_LIVE_S = 30
_MISSING_TRACE_LIVE_S = 2
# A trace's last spans come within seconds of its request; a page that is opened later need not look again.
_YOUNG_S = 30.0

_Answer = TypeVar("_Answer")

_DRAWING = ThreadPoolExecutor(2, "pages")
"""What may have many rows is drawn here, while the loop answers others."""


class Source(Protocol):
    """What the pages ask; the application keeps it as ``app.state.source``, and ``/api`` answers from it too."""

    async def overview(self) -> Json:
        """Return what ``GET /api/overview`` answers."""
        ...

    async def slos(self) -> Json:
        """Return what ``GET /api/slos`` answers."""
        ...

    async def slo_history(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/slos/history`` answers: slo, model, version, span_s."""
        ...

    async def traces(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/traces`` answers; the query is the URL's, each key once."""
        ...

    async def trace(self, wanted: str) -> Json | None:
        """Return what ``GET /api/traces/{trace id or request id}`` answers; None if it is not here."""
        ...


def routes() -> list[BaseRoute]:
    """Every page, and the files that a browser needs for them."""
    guarded = [Middleware(WithHeaders)]
    pages = {
        "/": _overview,
        "/slos": _slos,
        "/slos/{slo:path}": _slo,
        "/traces": _traces,
        "/traces/{wanted:path}": _trace,
        "/models/{model:path}": _model,
    }
    files = {"/static": _HERE / "static", "/vendored": assets.VENDORED}
    return [
        *(Route(path, _told(page), methods=["GET"], middleware=guarded) for path, page in pages.items()),
        # The folder of what is not ours is absent until it is fetched.
        *(Mount(path, StaticFiles(directory=at, check_dir=False), middleware=guarded) for path, at in files.items()),
    ]


class WithHeaders:
    """Adds what every page and file tells a browser about what it may do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with the headers."""
        ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *ours]}
            await send(message)

        await self._app(scope, receive, send_guarded)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (formats.count, formats.date, formats.duration, formats.moment, formats.path_segment)
    environment.filters |= {shower.__name__: shower for shower in (*shown, formats.rate, formats.share)}
    return environment


_TEMPLATES = _environment()

_Page = Callable[[Request], Awaitable[Response]]


def _told(page: _Page) -> _Page:
    """Return the page, or one that says why there is none."""

    async def answer(request: Request) -> Response:
        try:
            return await page(request)
        except BadQuery as wrong:
            return _sorry(400, "This cannot be looked up", str(wrong))
        except TooSlow:
            return _sorry(503, "This takes too long", "Narrow the filters: a shorter time, a model, a longer prefix.")
        except msgspec.ValidationError as wrong:
            return _sorry(502, "The gateway's answer cannot be read", f"{wrong}. Do both run the same version?")

    return answer


def _sorry(status: int, title: str, sentence: str, refresh_s: int = 0) -> Response:
    return _page("sorry.html", status, title=title, sentence=sentence, refresh_s=refresh_s)


def _page(template: str, status: int = 200, *, error: str = "", refresh_s: int = 0, **shown: object) -> Response:
    """Return a page.

    Args:
        error: why what is shown is old; "" when it is not.
        refresh_s: how often the page looks again while it is seen; 0 for never.
    """
    frame = {"error": error, "refresh_s": refresh_s, "has_assets": assets.are_installed(), "made_s": time.time()}
    return HTMLResponse(_TEMPLATES.get_template(template).render(frame | shown), status)


def _source(request: Request) -> Source:
    return cast(Source, request.app.state.source)


def _read(answer: Json, kind: type[_Answer]) -> _Answer:
    return msgspec.convert(answer, kind)


async def _overview(request: Request) -> Response:
    overview = _read(await _source(request).overview(), Overview)
    return _page(
        "overview.html",
        error=overview.error,
        refresh_s=_LIVE_S,
        mesh=overview.mesh,
        firing=firing_rows(overview.firing),
        cards=model_cards(overview),
    )


async def _slos(request: Request) -> Response:
    overview = _read(await _source(request).overview(), Overview)
    return _page("slos.html", error=overview.error, refresh_s=_LIVE_S, rows=objective_rows(overview.slos))


async def _slo(request: Request) -> Response:
    overview = _read(await _source(request).overview(), Overview)
    found = _find_objective(overview, request.path_params["slo"], request.query_params.get("model", ""))
    if found is None:
        return _sorry(404, "No such objective", overview.error or "No model of the policy in force names it.", _LIVE_S)
    span = request.query_params.get("span", "1h")
    return _page(
        "slo.html",
        error=overview.error,
        refresh_s=_LIVE_S,
        row=objective_row(found),
        spans=tuple(SPANS_S),
        span=span if span in SPANS_S else "1h",
        span_s=SPANS_S.get(span, SPANS_S["1h"]),
        factors=_factors(found),
    )


def _factors(objective: Objective) -> str:
    """Return the alerts' factors by what stands at their line in the plot, as JSON for the script that draws it."""
    factors = {f"{alert.name} {formats.factor(alert.factor)}": alert.factor for alert in objective.alerts}
    return msgspec.json.encode(factors).decode()


def _find_objective(overview: Overview, name: str, model: str) -> Objective | None:
    """Return the objective for the model, or for the first that has it when none is named."""
    named = (slo for slo in overview.slos if slo.name == name and model in ("", slo.model))
    return next(named, None)


async def _traces(request: Request) -> Response:
    url_query = dict(request.query_params)
    source = _source(request)
    overview = _read(await source.overview(), Overview)
    found = await source.traces(wanted(url_query, time.time()))
    return await asyncio.get_running_loop().run_in_executor(_DRAWING, _draw_traces, overview, found, url_query)


def _draw_traces(overview: Overview, answer: Json, url_query: dict[str, str]) -> Response:
    found = _read(answer, TraceList)
    live_s = _LIST_LIVE_S if len(found.traces) <= _LONG_LIST else _LONG_LIST_LIVE_S
    return _page(
        "traces.html",
        refresh_s=0 if "cursor" in url_query else live_s,
        view=list_view(found, url_query),
        given={key: url_query.get(key, "") for key in FILTERS},
        is_filtered=any(url_query.get(key) for key in (*FILTERS, "cursor")),
        models=sorted({known.model for known in overview.models}),
        lasts=tuple(LAST_S),
        limits=LIMITS,
    )


async def _trace(request: Request) -> Response:
    found = await _source(request).trace(request.path_params["wanted"])
    if found is None:
        sentence = (
            "No trace or request with this id is stored. It may still be on its way (this page looks again), it may "
            "not have been sampled, or it is older than what the hub keeps."
        )
        return _sorry(404, "Not here", sentence, _MISSING_TRACE_LIVE_S)
    return await asyncio.get_running_loop().run_in_executor(_DRAWING, _draw_trace, found)


def _draw_trace(found: Json) -> Response:
    trace = _read(found, Trace)
    is_young = time.time() - (trace.start_ns + trace.duration_ns) / 1e9 < _YOUNG_S
    return _page("trace.html", refresh_s=_LIVE_S if is_young else 0, view=trace_view(trace))


async def _model(request: Request) -> Response:
    model, source = request.path_params["model"], _source(request)
    overview = _read(await source.overview(), Overview)
    card = next((card for card in model_cards(overview) if card.model == model), None)
    if card is None:
        return _sorry(404, "No such model", overview.error or "The policy in force has no route for it.", _LIVE_S)
    found = _read(await source.traces({"model": model, "limit": _TRACES_OF_A_MODEL}), TraceList)
    return _page(
        "model.html",
        error=overview.error,
        refresh_s=_LIVE_S,
        card=card,
        rows=tuple(trace_row(summary) for summary in found.traces),
        firing=firing_rows([alert for alert in overview.firing if alert.model == model]),
    )
