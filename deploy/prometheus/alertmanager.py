"""Writes Alertmanager's configuration: who is told of what, how often, and which alert makes which other needless."""

from __future__ import annotations

from textwrap import dedent
from typing import Final

from deploy.prometheus.documents import Data, written
from deploy.prometheus.mesh_rules import GATEWAY_DOWN, HUB_JOB, NO_POD, POD_DOWN, POD_RESTARTS, SIDECARS_JOB
from deploy.prometheus.slo_rules import BURNS, EXHAUSTED, LIKELY

ALERTMANAGER_FILE: Final = "alertmanager.yaml"
# What tells one mesh from another: its name, and where there are several of that name, where they are.
_MESH: Final = ["mesh", "cluster", "namespace"]
_ABOUT: Final = dedent(
    """\
    Written by `penstock slo export alertmanager`. Give receivers their addresses, or take over the rest.
    One message for an objective of a model, however many of its alerts fire.
    In maintenance: amtool silence add model=MODEL --duration 2h --comment WHY
    """
)


def alertmanager() -> str:
    """Return the configuration; its receivers have no address yet."""
    return written(
        {"route": _route(), "inhibit_rules": _inhibitions(), "receivers": [{"name": "pages"}, {"name": "tickets"}]},
        about=_ABOUT,
    )


def _route() -> Data:
    return {
        "receiver": "tickets",
        "group_by": [*_MESH, "slo", "model"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "1d",
        "routes": [
            {
                "receiver": "pages",
                "matchers": ['severity = "page"'],
                "group_wait": "10s",
                "repeat_interval": "4h",
            }
        ],
    }


def _inhibitions() -> list[Data]:
    burn_or_end = f'alertname =~ "{BURNS}|{LIKELY}|{EXHAUSTED}"'
    return [
        # Whoever was woken for an objective needs no ticket that says the same.
        _inhibition(
            [f'alertname = "{BURNS}"', 'severity = "page"'],
            [burn_or_end, 'severity = "ticket"'],
            ["slo", "model"],
        ),
        # Without a gateway nothing of it is known, and what is told is old. Sidecars and the hub speak for themselves.
        _inhibition(
            [f'alertname = "{GATEWAY_DOWN}"'],
            [f'alertname != "{GATEWAY_DOWN}"', f'job !~ "{SIDECARS_JOB}|{HUB_JOB}"'],
            [],
        ),
        # That no pod is ready says why the objective suffers.
        _inhibition([f'alertname = "{NO_POD}"'], [f'alertname =~ "{BURNS}|{POD_DOWN}|{POD_RESTARTS}"'], ["model"]),
        _inhibition([f'alertname = "{POD_DOWN}"'], [f'alertname = "{POD_RESTARTS}"'], ["model", "version"]),
    ]


def _inhibition(source: list[str], target: list[str], equal: list[str]) -> Data:
    return {"source_matchers": source, "target_matchers": target, "equal": [*_MESH, *equal]}
