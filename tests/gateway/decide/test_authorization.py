"""Roles at the management API: every pair of role and action, and nothing that no role allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.authorization import LOCAL, Actor, allowed, group_subjects, roles_of
from policies.permissions import PERMISSIONS
from policies.snapshot.mesh import Role

ROLES = {
    "viewer": Role("viewer", ("group:everybody",), ("policy.read", "pod.read", "slo.read", "status.read")),
    "operator": Role("operator", ("group:sre",), ("pod.*", "slo.*", "status.*", "key.*", "audit.read")),
    "ranking": Role("ranking", ("key:ranking-1",), ("pod.read", "slo.*"), models=("ranker",)),
    "ci": Role("ci", ("san:spiffe://corp/ci",), ("policy.read",)),
    "payer": Role("payer", ("group:finance",), ("quota.*",)),
}
# What each may do to the whole mesh; everything else is refused.
MAY = {
    "viewer": {"policy.read", "pod.read", "slo.read", "status.read"},
    "operator": {"pod.read", "slo.read", "status.read", "key.read", "key.revoke", "audit.read"},
    "ranking": set(),
    "ci": {"policy.read"},
    "payer": {"quota.read", "quota.grant"},
}


@pytest.mark.parametrize("permission", PERMISSIONS)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_it_says_and_nothing_else(role: str, permission: str) -> None:
    actor = Actor("key:x", (ROLES[role],))
    assert actor.allows(permission) == (permission in MAY[role])
    assert allowed(ROLES.values(), ROLES[role].subjects, permission) == (permission in MAY[role])


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_role_for_some_models_is_for_those_and_never_for_the_mesh(permission: str) -> None:
    actor = Actor("key:ranking-1", (ROLES["ranking"],))
    is_its = permission in ("pod.read", "slo.read")
    assert actor.allows(permission, "ranker") == is_its
    assert actor.allows_anywhere(permission) == is_its
    assert not actor.allows(permission, "digits")
    assert not actor.allows(permission)


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_the_local_token_may_everything_and_nobody_nothing(permission: str) -> None:
    assert LOCAL.allows(permission)
    assert LOCAL.allows_anywhere(permission)
    assert not Actor("key:x").allows(permission)
    assert not Actor("key:x").allows_anywhere(permission)


def test_the_name_of_a_role_or_a_part_of_a_subject_is_nobody() -> None:
    for subject in ("viewer", "group:every", "everybody", "group:everybody2", "group:Everybody", "key:everybody", ""):
        assert roles_of(ROLES.values(), (subject,)) == ()


def test_a_group_is_one_of_its_issuer_and_of_nobody_else_s() -> None:
    assert group_subjects("sso", ("a", "b"), True) == ("group:sso/a", "group:sso/b", "group:a", "group:b")
    assert group_subjects("partner", ("ml-platform",), False) == ("group:partner/ml-platform",)


THINGS = st.sampled_from(["policy", "key", "pod"])
WRITTEN = st.builds("{}.{}".format, THINGS, st.sampled_from(["read", "plan", "revoke", "*"]))
SUBJECT = st.sampled_from(["group:a", "group:b", "key:k", "san:s"])
ROLE = st.builds(
    Role,
    name=st.just("r"),
    subjects=st.lists(SUBJECT, max_size=3).map(tuple),
    may=st.lists(WRITTEN, max_size=4).map(tuple),
    models=st.lists(st.sampled_from(["digits", "ranker"]), max_size=2).map(tuple),
)


@given(
    roles=st.lists(ROLE, max_size=5),
    subjects=st.lists(SUBJECT, max_size=3),
    permission=st.builds("{}.{}".format, THINGS, st.sampled_from(["read", "plan", "revoke"])),
    model=st.sampled_from(["", "digits", "ranker", "other"]),
)
def test_whatever_is_allowed_one_role_of_the_callers_says_so(
    roles: list[Role], subjects: list[str], permission: str, model: str
) -> None:
    says_so = any(
        set(role.subjects) & set(subjects)
        and {permission, permission.split(".")[0] + ".*"} & set(role.may)
        and (role.models == () or model in role.models)
        for role in roles
    )
    assert allowed(roles, subjects, permission, model) == says_so


@given(roles=st.lists(ROLE, max_size=5), more=ROLE, subjects=st.lists(SUBJECT, max_size=3))
def test_one_more_role_takes_nothing_away(roles: list[Role], more: Role, subjects: list[str]) -> None:
    for permission in ("policy.read", "key.revoke"):
        for model in ("", "digits"):
            before = allowed(roles, subjects, permission, model)
            assert allowed([*roles, more], subjects, permission, model) >= before
