"""Decides which pods should run, and which pods exist, from a snapshot and the state directory's path."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import PurePath

from msgspec import Struct

from gateway.control.desired_pods import DesiredPod, DesiredPods
from policies.snapshot.generation import Snapshot
from policies.snapshot.route import Health, Route, Version

# sun_path holds 108 bytes with its NUL; the rest is room for a suffix beside the socket.
SOCKET_PATH_BYTES = 99
_DIGEST_HEX = 16


class PodPlace(Struct, frozen=True):
    """A pod that the snapshot speaks of, launched by us or run by somebody else.

    Attributes:
        name: ``model/version/index``.
        address: ``unix:/path`` or ``host:port``, where the host may be a name.
        launch: what to start there; None where somebody else runs it.
        health: how it is probed.
    """

    name: str
    model: str
    version: str
    address: str
    launch: DesiredPod | None
    health: Health = Health()


def pod_places(snapshot: Snapshot, state_dir: PurePath) -> tuple[PodPlace, ...]:
    """Return every pod of every version, in the order of the files."""
    places: list[PodPlace] = []
    for route in snapshot.routes.values():
        for version in route.versions.values():
            launched = _launched(route, version, state_dir)
            places += launched
            places += _elsewhere(route, version, first_index=len(launched))
    return tuple(places)


def pod_places_meanwhile(
    in_force: Snapshot, waiting: Snapshot, awaited: Collection[tuple[str, str]], state_dir: PurePath
) -> tuple[PodPlace, ...]:
    """Return the pods of a generation that waits beside those of the one in force, which stay as they are.

    Args:
        awaited: models and their versions that the generation waits for: no pod of them is ready, so they are as the
            generation has them, or what it mends in them would never come.
    """
    places = {place.name: place for place in pod_places(waiting, state_dir)}
    stay = (place for place in pod_places(in_force, state_dir) if (place.model, place.version) not in awaited)
    places |= {place.name: place for place in stay}
    return tuple(places.values())


def desired_pods(snapshot: Snapshot, places: Iterable[PodPlace]) -> DesiredPods:
    """Return the pods that should be started, those of stable versions first; somebody else's are left out."""
    launches = [place.launch for place in places if place.launch is not None]
    launches.sort(key=lambda pod: not _is_stable(snapshot, pod))
    return DesiredPods(snapshot.generation, tuple(launches))


def _is_stable(snapshot: Snapshot, pod: DesiredPod) -> bool:
    route = snapshot.routes.get(pod.model)
    return route is not None and route.stable == pod.version


def socket_address(state_dir: PurePath, model: str, version: str, index: int) -> str:
    """Return the Unix socket of one pod; a name that does not fit a socket's path is replaced by its digest."""
    pods = state_dir / "pods"
    path = str(pods / f"{model}-{version}-{index}.sock")
    # A dash in the version would give a-1/2 and a/1-2 one socket.
    if len(path.encode()) > SOCKET_PATH_BYTES or "-" in version:
        digest = hashlib.sha256(f"{model}/{version}/{index}".encode()).hexdigest()[:_DIGEST_HEX]
        path = str(pods / f"{digest}.sock")
    return f"unix:{path}"


def _launched(route: Route, version: Version, state_dir: PurePath) -> list[PodPlace]:
    if version.launch is None:
        return []
    pods = (
        DesiredPod(
            name=f"{route.model}/{version.name}/{index}",
            model=route.model,
            version=version.name,
            archive=version.launch.archive,
            device=version.launch.device,
            address=socket_address(state_dir, route.model, version.name, index),
            max_rows=route.batching.max_rows,
            max_wait_s=route.batching.max_wait_s,
        )
        for index in range(version.launch.count)
    )
    return [PodPlace(pod.name, pod.model, pod.version, pod.address, pod, version.health) for pod in pods]


def _elsewhere(route: Route, version: Version, first_index: int) -> list[PodPlace]:
    """Return the pods that somebody else runs; which pods a name stands for is found out later."""
    addresses = [*(version.static.addresses if version.static is not None else ()), *filter(None, [version.dns])]
    return [
        PodPlace(f"{route.model}/{version.name}/{index}", route.model, version.name, address, None, version.health)
        for index, address in enumerate(addresses, first_index)
    ]
