"""Chooses the device of a model: the least used CUDA device, the one that was asked for, or the CPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

CPU = "cpu"
_CUDA = re.compile(r"cuda(?::(\d{1,3}))?")


class DeviceNotThere(Exception):
    """The device that was asked for does not exist on this machine."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """One CUDA device as it is now."""

    index: int
    free_bytes: int


def choose_device(wanted: str, device_type: str | None, cuda_devices: Sequence[CudaDevice]) -> str:
    """Return ``cpu`` or ``cuda:N``.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        device_type: what the archive says (``cpu``, ``gpu``); it decides only where ``wanted`` is ``auto``.

    Raises:
        DeviceNotThere: a CUDA device was asked for and is not there.
    """
    if wanted == CPU or (wanted == "auto" and (device_type == CPU or not cuda_devices)):
        return CPU
    match = _CUDA.fullmatch("cuda" if wanted == "auto" else wanted)
    if match is None:
        raise DeviceNotThere(f"{wanted!r} is no device; write auto, cpu or cuda:N.")
    if not cuda_devices:
        raise DeviceNotThere(f"{wanted} was asked for and this machine has no CUDA device.")
    if match[1] is None:
        # Equal memory: the lowest number, so that the choice is the same every time.
        return f"cuda:{max(cuda_devices, key=lambda device: (device.free_bytes, -device.index)).index}"
    if int(match[1]) not in [device.index for device in cuda_devices]:
        raise DeviceNotThere(f"{wanted} was asked for and this machine has {len(cuda_devices)} CUDA devices.")
    return f"cuda:{int(match[1])}"


def gpu_id(device: str) -> int | None:
    """Return the number by which handlers know the device; None on the CPU."""
    return None if device == CPU else int(device.removeprefix("cuda:"))
