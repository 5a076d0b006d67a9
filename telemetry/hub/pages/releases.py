"""Pages of releases: canaries as they go, and what shadows came to."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from telemetry.hub.pages.drawing import LIVE_S, Page, draw_page, sorry
from telemetry.hub.pages.source import read, source_of
from telemetry.hub.shown.release_answers import Rollouts, Shadows
from telemetry.hub.shown.rollouts import rollout_of, rollout_rows, rollout_view
from telemetry.hub.shown.shadows import shadow_of, shadow_rows, shadow_view


async def _rollouts(request: Request) -> Response:
    told = read(await source_of(request).rollouts(), Rollouts)
    return draw_page(
        "rollouts.html", error=told.error, refresh_s=LIVE_S, is_known=told.is_known, rows=rollout_rows(told)
    )


async def _rollout(request: Request) -> Response:
    model = request.path_params["model"]
    told = read(await source_of(request).rollout(model), Rollouts)
    rollout = rollout_of(told, model)
    if rollout is None:
        sentence = told.error or "No canary of this model is in policy: write canary: in routes/MODEL.yaml."
        return sorry(404, "No such rollout", sentence, LIVE_S)
    return draw_page("rollout.html", error=told.error, refresh_s=LIVE_S, view=rollout_view(rollout, told.at_s))


async def _shadows(request: Request) -> Response:
    told, model = read(await source_of(request).shadows(), Shadows), request.query_params.get("model", "")
    rows = shadow_rows(told, model)
    return draw_page("shadows.html", error=told.error, refresh_s=LIVE_S, is_known=told.is_known, rows=rows, model=model)


async def _shadow(request: Request) -> Response:
    told = read(await source_of(request).shadows(), Shadows)
    shadow = shadow_of(told, request.path_params["wanted"])
    if shadow is None:
        sentence = told.error or "No shadow of this name is in policy: write shadow: in routes/MODEL.yaml."
        return sorry(404, "No such shadow", sentence, LIVE_S)
    return draw_page("shadow.html", error=told.error, refresh_s=LIVE_S, view=shadow_view(shadow))


PAGES: dict[str, Page] = {
    "/rollouts": _rollouts,
    "/rollouts/{model:path}": _rollout,
    "/shadows": _shadows,
    "/shadows/{wanted:path}": _shadow,
}
