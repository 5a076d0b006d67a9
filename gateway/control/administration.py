"""Administration: serves the management API, with a desk for each thing that it manages, and what Prometheus reads."""

from __future__ import annotations

from functools import partial

from gateway.control.admin.sign_in import SignIn
from gateway.control.events import Say
from gateway.control.http_servers import HttpServers, management_app, metrics_app
from gateway.control.key_desk import KeyDesk
from gateway.control.listeners import Listener
from gateway.control.managed import Managed
from gateway.control.mesh_desk import MeshDesk
from gateway.control.parts import Parts
from gateway.control.past_desk import PastDesk
from gateway.control.quota_desk import QuotaDesk
from gateway.control.rollouts.desk import RolloutDesk
from gateway.control.sample_desk import SampleDesk
from gateway.control.shadow_desk import ShadowDesk


class Administration:
    """The supervisor's own HTTP servers, and the desks behind them.

    Args:
        token: of whoever owns the state directory, who may do everything.
    """

    def __init__(self, parts: Parts, desk: MeshDesk, token: str, say: Say) -> None:
        self._parts = parts
        self._desk = desk
        self._say = say
        self._servers = HttpServers()
        self._sign_in = SignIn(
            token, parts.in_force, revoked=lambda: parts.keys.revoked, trusted=lambda: parts.jwks.trusted
        )

    async def serve_management(self, listener: Listener) -> None:
        """Serve the management API at one socket until told to stop."""
        addresses = [one.address for one in self._parts.listeners.management]
        make = partial(management_app, self._managed(), self._sign_in, listener, addresses)
        await self._servers.serve(make, listener)

    async def serve_metrics(self, listener: Listener) -> None:
        """Serve what Prometheus reads at one socket until told to stop."""
        addresses = [one.address for one in self._parts.listeners.metrics]
        make = partial(metrics_app, self._parts.slos.engine, self._desk.facts, addresses)
        await self._servers.serve(make, listener)

    def stop(self) -> None:
        """Let every server finish what it answers."""
        self._servers.stop()

    def _managed(self) -> Managed:
        parts, in_force = self._parts, self._parts.in_force
        return Managed(
            view=self._desk.view,
            costs=parts.slos.engine.costs,
            audit=parts.audit,
            keys=KeyDesk(parts.keys, in_force, parts.audit, self._say),
            quotas=QuotaDesk(parts.quotas, in_force, parts.audit, self._say),
            past=PastDesk(parts.state, in_force, self._desk.stages),
            rollouts=RolloutDesk(parts.rollouts, parts.audit),
            workers=parts.worker_desk,
            shadows=ShadowDesk(parts.copies_desk, in_force, parts.audit, self._say),
            drift=parts.drift,
            logs=parts.logs,
            samples=SampleDesk(parts.copies_desk, in_force, parts.audit, self._say),
        )
