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

from telemetry.hub import assets, simulations
from telemetry.hub.dashboard_pages import dashboard_pages
from telemetry.hub.dashboards.on_call import model_lines
from telemetry.hub.measured.answers import Measured
from telemetry.hub.query import BadQuery, chosen
from telemetry.hub.reader import TooSlow
from telemetry.hub.shown import formats
from telemetry.hub.shown.answers import Alerts, Changes, Objective, Overview, Simulation, Trace, TraceList
from telemetry.hub.shown.costs import price_of
from telemetry.hub.shown.delivery import telemetry_view
from telemetry.hub.shown.drift import drift_rows, model_view, state_counts
from telemetry.hub.shown.fleet_answers import Drifts, Machine, MachineSidecar, Telemetry
from telemetry.hub.shown.machine import machine_view
from telemetry.hub.shown.objectives import EXHAUSTED, SPANS_S, firing_rows, model_cards, objective_row
from telemetry.hub.shown.pagination import paged
from telemetry.hub.shown.past_alerts import CHOICES, alert_list, episodes_of, spans_over
from telemetry.hub.shown.plots import sparkline
from telemetry.hub.shown.release_answers import Rollouts, Shadows
from telemetry.hub.shown.rollouts import rollout_of, rollout_row, rollout_rows, rollout_view
from telemetry.hub.shown.shadows import shadow_of, shadow_rows, shadow_view
from telemetry.hub.shown.simulated import simulation_view
from telemetry.hub.shown.slo_list import STATES, slo_list
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
    "referrer-policy": "same-origin",
    "cache-control": "no-cache",
}

_HERE = Path(__file__).parent
_TRACES_OF_A_MODEL = "10"
_OVERVIEW_SPAN = "15m"
_LIVE_S = 3
_LIST_LIVE_S = 5
# To change a thousand lines takes a browser most of a second.
_LONG_LIST = 200
_LONG_LIST_LIVE_S = 30
_MISSING_TRACE_LIVE_S = 2
# What asks every sidecar, or has versions judged; sidecars themselves read every 5 s.
_FLEET_LIVE_S = 5
_FLEET_ROWS = 50
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

    async def simulation(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/slos/simulate`` answers; it raises ``BadQuery`` and ``NoObjective``."""
        ...

    async def alerts(self) -> Json:
        """Return what ``GET /api/alerts`` answers to no filter."""
        ...

    async def changes_of(self, model: str) -> Json:
        """Return what was changed of a model of late."""
        ...

    async def rollouts(self) -> Json:
        """Return what ``GET /api/rollouts`` answers."""
        ...

    async def rollout(self, model: str) -> Json:
        """Return what ``GET /api/rollouts/{model}`` answers."""
        ...

    async def shadows(self) -> Json:
        """Return what ``GET /api/shadows`` answers."""
        ...

    async def drift(self) -> Json:
        """Return what ``GET /api/drift`` answers: every version, in brief."""
        ...

    async def drift_of(self, model: str) -> Json:
        """Return what ``GET /api/drift/{model}`` answers."""
        ...

    async def machine(self) -> Json:
        """Return what ``GET /api/machine`` answers."""
        ...

    async def machine_of(self, sidecar: str) -> Json | None:
        """Return what ``GET /api/machine/{sidecar}`` answers; None if there is no such sidecar."""
        ...

    async def telemetry(self) -> Json:
        """Return what ``GET /api/telemetry`` answers."""
        ...

    async def changes(self) -> Json:
        """Return what ``GET /api/changes`` answers: what was changed lately, and by whom."""
        ...

    async def measured(self, span: str) -> Json:
        """Return what ``GET /api/red`` answers: every model, from counts before any sampling."""
        ...

    async def measured_model(self, model: str, version: str, span: str) -> Json:
        """Return what ``GET /api/red/{model}`` answers: one model step by step."""
        ...

    async def traces(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/traces`` answers; the query is the URL's, each key once."""
        ...

    async def trace(self, wanted: str) -> Json | None:
        """Return what ``GET /api/traces/{trace id or request id}`` answers; None if it is not here."""
        ...

    async def trace_otlp(self, wanted: str) -> Json | None:
        """Return the same trace and its batches as OTLP's JSON, for ``?form=otlp``."""
        ...


def routes() -> list[BaseRoute]:
    """Every page, and the files that a browser needs for them."""
    guarded = [Middleware(WithHeaders)]
    pages = {
        "/": _overview,
        "/slos": _slos,
        "/slos/{slo:path}": _slo,
        "/alerts": _alerts,
        "/simulate": _simulate,
        "/traces": _traces,
        "/traces/{wanted:path}": _trace,
        "/models/{model:path}": _model,
        "/rollouts": _rollouts,
        "/rollouts/{model:path}": _rollout,
        "/shadows": _shadows,
        "/shadows/{wanted:path}": _shadow,
        "/drift": _drift,
        "/drift/{model:path}": _drift_of,
        "/machine": _machine,
        "/machine/{sidecar:path}": _machine_of,
        "/telemetry": _telemetry,
        **dashboard_pages(_page, _sorry),
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
    source = _source(request)
    told, counted = await asyncio.gather(source.overview(), source.measured(_OVERVIEW_SPAN))
    overview, measured = _read(told, Overview), _read(counted, Measured)
    return _page(
        "overview.html",
        error=overview.error,
        refresh_s=_LIVE_S,
        mesh=overview.mesh,
        firing=firing_rows(overview.firing),
        cards=model_cards(overview),
        whole=measured.whole.summed if measured.whole is not None else None,
        lines={line.model: line for line in model_lines(overview, measured)},
        sparks={one.model: sparkline(one.rates) for one in measured.models},
        span=measured.span,
    )


async def _slos(request: Request) -> Response:
    overview = _read(await _source(request).overview(), Overview)
    view = slo_list(overview.slos, request.query_params)
    return _page("slos.html", error=overview.error, refresh_s=_LIVE_S, view=view, states=STATES)


async def _slo(request: Request) -> Response:
    source = _source(request)
    overview = _read(await source.overview(), Overview)
    found = _find_objective(overview, request.path_params["slo"], request.query_params.get("model", ""))
    if found is None:
        return _sorry(404, "No such objective", overview.error or "No model of the policy in force names it.", _LIVE_S)
    span = chosen("span", request.query_params.get("span", ""), SPANS_S, "1h")
    told, changes = await asyncio.gather(source.alerts(), source.changes_of(found.model))
    alerts = _read(told, Alerts)
    return _page(
        "slo.html",
        error=overview.error or alerts.error,
        refresh_s=_LIVE_S,
        row=objective_row(found),
        spans=tuple(SPANS_S),
        span=span,
        span_s=SPANS_S[span],
        plots=[alert for alert in found.alerts if alert.tier != EXHAUSTED],
        over=_json_text(spans_over(alerts, found.name, found.model)),
        marks=_json_text(_read(changes, Changes).changes),
        episodes=episodes_of(alerts, found.name, found.model),
        receivers=alerts.receivers,
        is_known=alerts.is_known,
    )


def _json_text(told: object) -> str:
    """Return what a script reads of an attribute."""
    return msgspec.json.encode(told).decode()


async def _alerts(request: Request) -> Response:
    source = _source(request)
    overview, alerts = _read(await source.overview(), Overview), _read(await source.alerts(), Alerts)
    return _page(
        "alerts.html",
        error=alerts.error or overview.error,
        refresh_s=_LIST_LIVE_S,
        view=alert_list(alerts, request.query_params),
        choices=CHOICES,
        receivers=alerts.receivers,
        is_known=alerts.is_known,
        models=sorted({one.model for one in overview.slos}),
        names=sorted({one.name for one in overview.slos}),
    )


async def _simulate(request: Request) -> Response:
    source, query = _source(request), request.query_params
    overview = _read(await source.overview(), Overview)
    found = _find_objective(overview, query.get("slo", ""), query.get("model", ""))
    told, problem, status = None, "", 200
    if simulations.is_asked(query):
        try:
            told = _read(await source.simulation(query), Simulation)
        except BadQuery as wrong:
            problem, status = str(wrong), 400
        except simulations.NoObjective as wrong:
            problem, status = overview.error or str(wrong), 404
    return _page(
        "simulate.html",
        status,
        error=overview.error,
        problem=problem or (told.error if told else ""),
        view=simulation_view(told) if told and not told.error else None,
        given={key: query.get(key, "") for key in simulations.KEYS},
        usual=_usual(overview, found),
        found=found,
        models=sorted({one.model for one in overview.slos}),
        names=sorted({one.name for one in overview.slos}),
    )


def _usual(overview: Overview, found: Objective | None) -> Json:
    """Return what a form begins with: the model's own rate of requests, where it has any."""
    per_s = sum(one.requests_per_s for one in overview.models if found and one.model == found.model)
    return {
        "bad_share": simulations.DEFAULT_SHARE,
        "for": simulations.DEFAULT_LENGTH,
        "rate": f"{per_s:.3g}/s" if 0.01 <= per_s < 1000 else simulations.DEFAULT_RATE,
        "last": simulations.DEFAULT_LAST,
        "alerts": [one.name for one in found.alerts if one.tier in ("fast", "slow")] if found else [],
    }


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
    traces, rollouts, shadows = await asyncio.gather(
        source.traces({"model": model, "limit": _TRACES_OF_A_MODEL}), source.rollouts(), source.shadows()
    )
    found, told = _read(traces, TraceList), _read(rollouts, Rollouts)
    rollout = rollout_of(told, model)
    return _page(
        "model.html",
        error=overview.error,
        refresh_s=_LIVE_S,
        card=card,
        rows=tuple(trace_row(summary) for summary in found.traces),
        firing=firing_rows([alert for alert in overview.firing if alert.model == model]),
        rollout=rollout_row(rollout, told.at_s) if rollout else None,
        shadows=shadow_rows(_read(shadows, Shadows), model),
    )


async def _rollouts(request: Request) -> Response:
    told = _read(await _source(request).rollouts(), Rollouts)
    return _page("rollouts.html", error=told.error, refresh_s=_LIVE_S, is_known=told.is_known, rows=rollout_rows(told))


async def _rollout(request: Request) -> Response:
    model = request.path_params["model"]
    told = _read(await _source(request).rollout(model), Rollouts)
    rollout = rollout_of(told, model)
    if rollout is None:
        sentence = told.error or "No canary of this model is in policy: write canary: in routes/MODEL.yaml."
        return _sorry(404, "No such rollout", sentence, _LIVE_S)
    return _page("rollout.html", error=told.error, refresh_s=_LIVE_S, view=rollout_view(rollout, told.at_s))


async def _shadows(request: Request) -> Response:
    told, model = _read(await _source(request).shadows(), Shadows), request.query_params.get("model", "")
    rows = shadow_rows(told, model)
    return _page("shadows.html", error=told.error, refresh_s=_LIVE_S, is_known=told.is_known, rows=rows, model=model)


async def _shadow(request: Request) -> Response:
    told = _read(await _source(request).shadows(), Shadows)
    shadow = shadow_of(told, request.path_params["wanted"])
    if shadow is None:
        sentence = told.error or "No shadow of this name is in policy: write shadow: in routes/MODEL.yaml."
        return _sorry(404, "No such shadow", sentence, _LIVE_S)
    return _page("shadow.html", error=told.error, refresh_s=_LIVE_S, view=shadow_view(shadow))


async def _drift(request: Request) -> Response:
    told, query = _read(await _source(request).drift(), Drifts), dict(request.query_params)
    given = {key: query.get(key, "") for key in ("model", "state")}
    return _page(
        "drift.html",
        error=told.error,
        refresh_s=_FLEET_LIVE_S,
        is_known=told.is_known,
        states=state_counts(told),
        given=given,
        page=paged(drift_rows(told, given["state"], given["model"]), query, _FLEET_ROWS),
    )


async def _drift_of(request: Request) -> Response:
    model, version = request.path_params["model"], request.query_params.get("version", "")
    told = _read(await _source(request).drift_of(model), Drifts)
    overview = _read(await _source(request).overview(), Overview)
    objectives = [objective for objective in overview.slos if objective.model == model]
    view = model_view(told, model, objectives, version)
    if view is None:
        sentence = told.error or "Nothing of it is watched: write drift: {sample: 1%} in routes/MODEL.yaml."
        return _sorry(404, "No such model is watched", sentence, _FLEET_LIVE_S)
    return _page("drift_model.html", error=told.error, refresh_s=_FLEET_LIVE_S, view=view, version=version)


async def _machine(request: Request) -> Response:
    query = dict(request.query_params)
    price_of(query)  # what is wrong with it is told before anybody is asked
    told = _read(await _source(request).machine(), Machine)
    return await asyncio.get_running_loop().run_in_executor(_DRAWING, _draw_machine, told, query, "")


async def _machine_of(request: Request) -> Response:
    name = request.path_params["sidecar"]
    found = await _source(request).machine_of(name)
    if found is None:
        return _sorry(404, "No such sidecar", "The mesh has no pod or gateway of this name.", _FLEET_LIVE_S)
    told = Machine(time.time(), (_read(found, MachineSidecar),))
    return await asyncio.get_running_loop().run_in_executor(_DRAWING, _draw_machine, told, {}, name)


def _draw_machine(told: Machine, query: dict[str, str], sidecar: str) -> Response:
    price = price_of(query)
    view = machine_view(told, query.get("model", ""), price)
    return _page(
        "machine.html",
        error=told.error,
        refresh_s=_FLEET_LIVE_S,
        view=view,
        sidecar=sidecar,
        price=price,
        given={key: query.get(key, "") for key in ("model", "price")},
        costs_error=told.costs_error,
        left_out=told.left_out,
        devices=paged(view.devices, query, _FLEET_ROWS, "devices"),
        processes=paged(view.processes, query, _FLEET_ROWS, "processes"),
        groups=paged(view.groups, query, _FLEET_ROWS, "groups"),
        idle=paged(view.idle, query, _FLEET_ROWS, "idle"),
        versions=paged(view.costs.versions if view.costs else (), query, _FLEET_ROWS, "versions"),
    )


async def _telemetry(request: Request) -> Response:
    told = _read(await _source(request).telemetry(), Telemetry)
    view = telemetry_view(told)
    page = paged(view.rows, dict(request.query_params), _FLEET_ROWS)
    return _page(
        "telemetry.html", error=told.error, refresh_s=_FLEET_LIVE_S, view=view, page=page, left_out=told.left_out
    )
