"""Permissions are a closed list of things and actions."""

import re

from hypothesis import given
from hypothesis import strategies as st

from policies.permissions import PERMISSIONS, allowed_by


def test_every_permission_is_a_thing_and_an_action() -> None:
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", permission) for permission in PERMISSIONS)
    assert list(PERMISSIONS) == sorted(set(PERMISSIONS))


def test_a_star_stands_for_every_action_on_its_thing() -> None:
    assert allowed_by("key.*") == ("key.read", "key.revoke")
    assert allowed_by("quota.grant") == ("quota.grant",)


@given(st.text(max_size=12) | st.sampled_from(["*", "*.*", ".*", "key*", "key.", "ke.*", "key.read.*"]))
def test_no_other_text_allows_anything(text: str) -> None:
    things = {permission.partition(".")[0] for permission in PERMISSIONS}
    known = {*PERMISSIONS, *(f"{thing}.*" for thing in things)}
    assert bool(allowed_by(text)) == (text in known)
