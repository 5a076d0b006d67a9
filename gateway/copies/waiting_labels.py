"""Waiting labels: what tenants told and what has not met its answer yet, in bounded number and with room for each.

Labels of requests that nobody knows wait as well, and any tenant may tell as many as it likes. So where there is no
room, one of those goes whose tenant has most of them: nobody's labels are lost for what others tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from gateway.copies.messages import LateLabel

Asked = tuple[str, str]
"""A tenant and the id of its request."""


class Told(Struct):
    """A label, and until when its answer is waited for."""

    label: LateLabel
    until_s: float


class WaitingLabels:
    """Labels by tenant, and of each by the id of the request."""

    def __init__(self, waiting: Iterable[tuple[Asked, Told]] = ()) -> None:
        self._by_tenant: dict[str, dict[str, Told]] = {}
        self._count = 0
        for asked, one in waiting:
            self._add(asked, one)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, asked: Asked) -> bool:
        tenant, request_id = asked
        return request_id in self._by_tenant.get(tenant, ())

    def __iter__(self) -> Iterator[tuple[Asked, Told]]:
        for tenant, told in self._by_tenant.items():
            for request_id, one in told.items():
                yield (tenant, request_id), one

    def put(self, asked: Asked, one: Told, most: int) -> bool:
        """Let one wait that does not yet; False when there are too many, and it or another one is dropped for that."""
        has_room = self._count < most
        if has_room or self._gives_way_to(asked[0]):
            self._add(asked, one)
        return has_room

    def _add(self, asked: Asked, one: Told) -> None:
        tenant, request_id = asked
        self._by_tenant.setdefault(tenant, {})[request_id] = one
        self._count += 1

    def _gives_way_to(self, tenant: str) -> bool:
        """Drop the latest label of whoever has most, if that is more than this tenant has with one more."""
        own = len(self._by_tenant.get(tenant, ()))
        largest = max(self._by_tenant.values(), key=len, default={})
        if len(largest) <= own + 1:
            return False
        largest.popitem()
        self._count -= 1
        return True
