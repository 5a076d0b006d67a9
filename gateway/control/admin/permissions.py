"""Permissions at the management API: each endpoint says what it needs, and none is left without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from msgspec import Struct
from starlette.routing import BaseRoute

from gateway.decide.authorization import Actor
from model_pod.wire.refusals import Refused
from policies.permissions import PERMISSIONS


class UnguardedRoute(Exception):
    """A route does not say who may call it; the application is not made."""


class Endpoint(Struct, frozen=True, order=True):
    """One method of one path, as the route is written."""

    path: str
    method: str


class Guard:
    """What an endpoint needs; as a dependency it gives the endpoint whoever calls.

    Attributes:
        permission: "THING.ACTION"; "" is any role at all.
        per_model: a role for some models is enough; the endpoint shows and changes only what `actor.allows` of each.

    Raises:
        UnguardedRoute: there is no such permission.
    """

    def __init__(self, permission: str, *, per_model: bool) -> None:
        if permission and permission not in PERMISSIONS:
            raise UnguardedRoute(f"{permission} is no permission that a role can have")
        self.permission = permission
        self.per_model = per_model

    async def __call__(self, request: Request) -> Actor:
        """Return who calls.

        Raises:
            Refused: permission_missing.
        """
        actor: Actor = request.state.actor
        if not self._admits(actor):
            raise missing(self.permission)
        return actor

    def _admits(self, actor: Actor) -> bool:
        if not self.permission:
            return actor.is_local or bool(actor.roles)
        return actor.allows_anywhere(self.permission) if self.per_model else actor.allows(self.permission)


def missing(permission: str, model: str = "") -> Refused:
    """Return the refusal of somebody who lacks a permission."""
    whom = f" on the model {model}" if model else ""
    needed = f"the permission {permission}{whom}" if permission else "a role"
    return Refused("permission_missing", f"This needs {needed}; `admin.roles` of mesh.yaml says who has it.")


def needs(permission: str, *, per_model: bool = False) -> Any:
    """Guard an endpoint: ``actor: Annotated[Actor, needs("quota.grant")]``."""
    return Depends(Guard(permission, per_model=per_model))


def needs_any_role() -> Any:
    """Guard an endpoint that whoever has a role at all may call."""
    return Depends(Guard("", per_model=True))


def guards(routes: Iterable[BaseRoute], open_paths: frozenset[str]) -> dict[Endpoint, str]:
    """Return the permission that each endpoint needs; those of open paths need nothing and are left out.

    Raises:
        UnguardedRoute: an endpoint has no guard or more than one, or is hidden from the OpenAPI.
    """
    found: dict[Endpoint, str] = {}
    for route in routes:
        if not isinstance(route, APIRoute):
            raise UnguardedRoute(f"{route} is no endpoint of FastAPI, so nothing guards it")
        if not route.include_in_schema:
            raise UnguardedRoute(f"{route.path} is hidden from the OpenAPI, which is to name every endpoint")
        guarding = {guard.permission for guard in _guards_of(route.dependant)}
        if route.path in open_paths and not guarding:
            continue
        if len(guarding) != 1:
            raise UnguardedRoute(f"{route.path} needs one permission and names {sorted(guarding)}")
        for method in route.methods or ():
            found[Endpoint(route.path, method)] = min(guarding)
    return found


def _guards_of(dependant: Dependant) -> Iterator[Guard]:
    if isinstance(dependant.call, Guard):
        yield dependant.call
    for below in dependant.dependencies:
        yield from _guards_of(below)
