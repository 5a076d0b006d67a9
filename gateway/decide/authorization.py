"""Authorization: whether somebody may do something at the management API; what no role allows is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from policies.snapshot.mesh import Role


class Actor(Struct, frozen=True):
    """Somebody who has proved who they are.

    Attributes:
        id: for the audit log: "local", "key:ID", "jwt:ISSUER:SUBJECT" or "san:IDENTITY".
        roles: those that it has in the generation in force.
        is_local: it holds the admin token of the state directory, which may do everything.
    """

    id: str
    roles: tuple[Role, ...] = ()
    is_local: bool = False

    def allows(self, permission: str, model: str = "") -> bool:
        """Whether it may do this to the model, or to the whole mesh when none is named."""
        return self.is_local or any(_allows(role, permission, model) for role in self.roles)

    def allows_anywhere(self, permission: str) -> bool:
        """Whether it may do this to any model at all."""
        return self.is_local or any(_names(role, permission) for role in self.roles)


LOCAL = Actor("local", is_local=True)


def roles_of(roles: Iterable[Role], subjects: Iterable[str]) -> tuple[Role, ...]:
    """Return the roles that one of the subjects ("group:NAME", "san:IDENTITY" or "key:ID") has."""
    wanted = frozenset(subjects)
    return tuple(role for role in roles if not wanted.isdisjoint(role.subjects))


def allowed(roles: Iterable[Role], subjects: Iterable[str], permission: str, model: str = "") -> bool:
    """Whether one of the subjects may do this to the model, or to the whole mesh when none is named."""
    return any(_allows(role, permission, model) for role in roles_of(roles, subjects))


def group_subjects(issuer: str, groups: Sequence[str], is_only_issuer: bool) -> tuple[str, ...]:
    """Return the subjects that a token's groups stand for.

    Where there are several issuers, a role has to say whose group it means: any of them could give any group a name.
    """
    named = [f"{issuer}/{group}" for group in groups]
    return tuple(f"group:{name}" for name in (*named, *(groups if is_only_issuer else ())))


def _allows(role: Role, permission: str, model: str) -> bool:
    # A role for some models says nothing of the mesh as a whole.
    return _names(role, permission) and (not role.models or model in role.models)


def _names(role: Role, permission: str) -> bool:
    thing, _, _ = permission.partition(".")
    return permission in role.may or f"{thing}.*" in role.may
