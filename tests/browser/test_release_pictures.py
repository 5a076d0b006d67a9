"""The pictures of a canary that was rolled back and of a shadow that differs: of a mesh that has just seen both.

Taken with ``PENSTOCK_SCREENSHOTS=1`` alone.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
import uvloop

from telemetry.hub import assets
from tests.browser.browser import PROGRAM, Browser, Theme
from tests.browser.pictures import PICTURE_BYTES, picture
from tests.system.mesh import demo_store
from tests.system.releases.ground import Ground, broken_store, ground
from tests.system.seen import hub_of

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.needs_program(PROGRAM),
    pytest.mark.skipif(not assets.are_installed(), reason="no charts (python -m telemetry.hub.assets)"),
    pytest.mark.skipif("PENSTOCK_SCREENSHOTS" not in os.environ, reason="no pictures asked for (make screenshots)"),
]

RELEASES = """\
canary:
  id: digits-3-first
  version: "3"
  sticky_by: [header:x-user-id, tenant]
  steps: [{share: 20%, hold: 10m, at_least: 1000}, {share: 100%}]
  judge: {bad_events: {harmful_above: 1.2x, safe_below: 1.5x, alpha: 0.01}}
shadow:
  - name: digits-2-dark
    version: "2"
    sample: 50%
    compare:
      noise_floor: {repeat_stable: 50%}
      outputs: [{path: /label, as: label}, {path: /probabilities, as: probabilities}]
      verdict: {at_least: 500, worse_if_above_noise_by: 1%}
"""


def test_the_pictures_of_the_documents_are_taken(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    store = broken_store(demo_store(tmp_path_factory), tmp_path, "raise", share=0.5)
    with ground(tmp_path, store, {"2": "digits-2.mar", "3": "digits-3.mar"}, RELEASES) as on:
        with ThreadPoolExecutor(1) as load:  # the browser has a loop in this thread
            load.submit(lambda: uvloop.run(on.ask(60.0, 120.0, goes_on=lambda _: not _is_all_said(on)))).result()
        assert _is_all_said(on)
        dashboards = hub_of(on.mesh).dashboards
        for theme in get_args(Theme):
            with browser(theme) as window:
                for name, path in {"rollout": "/rollouts/digits", "shadow": "/shadows/digits/digits-2-dark"}.items():
                    window.open(f"{dashboards}{path}")
                    window.screenshot(picture(name, theme))
                    assert picture(name, theme).stat().st_size < PICTURE_BYTES


def _is_all_said(on: Ground) -> bool:
    return on.rollout()["state"] == "rolled back" and on.shadow("digits-2-dark")["says"] in ("differs", "worse", "same")
