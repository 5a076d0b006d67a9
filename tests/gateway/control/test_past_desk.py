"""The desk for the past, over true records and generations, and its room of the management API."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from gateway.control import generation_archive
from gateway.control.admin import explain_routes
from gateway.control.past_desk import PastDesk
from gateway.decisions.folder import FOLDER, file_name
from gateway.decisions.records import framed
from model_pod.wire.refusals import Refused
from policies.snapshot.limits import Limit
from tests.gateway.policy import policy
from tests.gateway.trial.traffic_made import START_S, Call, recorded, request_id

THEN = policy(limit=Limit("tier/gold", 1.0, 1))
NOW = policy(generation=2)


@pytest.fixture
def desk(tmp_path: Path) -> PastDesk:
    """Two requests at once of a generation that admits one; another is in force since."""
    generation_archive.keep(tmp_path, THEN)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / file_name(START_S, 11)).write_bytes(framed(*recorded(THEN, [Call(), Call()])))
    return PastDesk(tmp_path, lambda: NOW)


def test_a_request_is_explained_by_the_policy_of_its_time_and_by_the_one_in_force(desk: PastDesk) -> None:
    report = desk.explain(request_id(1))
    assert report.then is not None
    assert (report.then.generation, report.then.reason) == (1, "rate_limited")
    assert (report.now.generation, report.now.reason, report.now.version) == (2, "", "1")


@pytest.mark.parametrize("name", ["f" * 32, "abc", "", "no hex at all", "00" * 17])
def test_a_request_of_which_nothing_is_kept_is_not_found(desk: PastDesk, name: str) -> None:
    with pytest.raises(Refused) as refused:
        desk.explain(name)
    assert refused.value.reason == "request_not_recorded"


def test_the_room_answers_with_the_report(desk: PastDesk) -> None:
    room = explain_routes.router(desk)
    (route,) = [route for route in room.routes if isinstance(route, APIRoute)]
    assert route.endpoint(request_id(0)) == desk.explain(request_id(0))
    app = FastAPI()
    app.include_router(room)
    assert "RecordedReport" in app.openapi()["components"]["schemas"]
