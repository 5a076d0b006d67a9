"""What a role of the management API may allow: each permission is a thing and what is done with it."""

from typing import Final

PERMISSIONS: Final = (
    "audit.read",
    "canary.pause",
    "canary.promote",
    "canary.rollback",
    "drift.read",
    "key.read",
    "key.revoke",
    "log.level",
    "log.read",
    "pod.read",
    "policy.read",
    "quota.grant",
    "quota.read",
    "rollout.read",
    "sample.purge",
    "sample.read",
    "shadow.forget",
    "shadow.read",
    "shadow.replay",
    "slo.read",
    "status.read",
    "worker.restart",
)
EVERY_ACTION: Final = ".*"


def allowed_by(written: str) -> tuple[str, ...]:
    """The permissions that a role's text stands for: "key.*" for each of keys; none where there is no such thing."""
    if written.endswith(EVERY_ACTION):
        thing = written.removesuffix("*")
        return tuple(permission for permission in PERMISSIONS if permission.startswith(thing))
    return (written,) if written in PERMISSIONS else ()
