"""Pages of traces: a list by filters, and one request with its time in parts."""

from __future__ import annotations

import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from telemetry.hub.pages.drawing import LIST_LIVE_S, LIVE_S, Page, draw_in_thread, draw_page, sorry
from telemetry.hub.pages.source import Json, read, source_of
from telemetry.hub.shown.answers import Overview, Trace, TraceList
from telemetry.hub.shown.trace_list import FILTERS, LAST_S, LIMITS, list_view, wanted
from telemetry.hub.shown.waterfall import trace_view

# To change a thousand lines takes a browser most of a second.
_LONG_LIST = 200
_LONG_LIST_LIVE_S = 30
_MISSING_TRACE_LIVE_S = 2
# A trace's last spans come within seconds of its request; a page that is opened later need not look again.
_YOUNG_S = 30.0


async def _traces(request: Request) -> Response:
    url_query = dict(request.query_params)
    source = source_of(request)
    overview = read(await source.overview(), Overview)
    found = await source.traces(wanted(url_query, time.time()))
    return await draw_in_thread(partial(_draw_traces, overview, found, url_query))


def _draw_traces(overview: Overview, answer: Json, url_query: dict[str, str]) -> Response:
    found = read(answer, TraceList)
    live_s = LIST_LIVE_S if len(found.traces) <= _LONG_LIST else _LONG_LIST_LIVE_S
    return draw_page(
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
    found = await source_of(request).trace(request.path_params["wanted"])
    if found is None:
        sentence = (
            "No trace or request with this id is stored. It may still be on its way (this page looks again), it may "
            "not have been sampled, or it is older than what the hub keeps."
        )
        return sorry(404, "Not here", sentence, _MISSING_TRACE_LIVE_S)
    return await draw_in_thread(partial(_draw_trace, found))


def _draw_trace(found: Json) -> Response:
    trace = read(found, Trace)
    is_young = time.time() - (trace.start_ns + trace.duration_ns) / 1e9 < _YOUNG_S
    return draw_page("trace.html", refresh_s=LIVE_S if is_young else 0, view=trace_view(trace))


PAGES: dict[str, Page] = {
    "/traces": _traces,
    "/traces/{wanted:path}": _trace,
}
