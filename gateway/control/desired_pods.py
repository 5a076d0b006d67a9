"""Desired pods: which pods should run, as data. ``deploy.local`` or a cluster makes it so."""

from __future__ import annotations

from msgspec import Struct


class DesiredPod(Struct, frozen=True):
    """One running copy that should exist.

    Attributes:
        name: ``model/version/index``.
        archive: file name in the model store.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        address: where the gateway will look for it: ``unix:/path``.
        max_rows: most rows of a batch; 0 leaves it to the archive's model-config.yaml.
        max_wait_s: longest wait for a batch to fill while the device is busy; negative leaves it to the archive.
    """

    name: str
    model: str
    version: str
    archive: str
    device: str
    address: str
    max_rows: int = 0
    max_wait_s: float = -1.0


class DesiredPods(Struct, frozen=True):
    """The file ``desired-pods.json`` in the state directory, replaced whole.

    Attributes:
        generation: the policy generation it follows from.
        pods: in the order in which they should start.
    """

    generation: int
    pods: tuple[DesiredPod, ...]


FILE_NAME = "desired-pods.json"
