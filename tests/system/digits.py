"""Requests with handwritten digits whose labels are known, so that every answer can be judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from deploy.demo.data import load_split
from tests.system.mesh import NOTHING, MeshUnderTest

_PER_LABEL = 2


class _Labelled(msgspec.Struct):
    label: int


_decode = msgspec.json.Decoder(_Labelled).decode


@dataclass(frozen=True, slots=True)
class Digit:
    """One digit that no model was trained on; the label is the data set's."""

    pixels: tuple[int, ...]
    label: int

    @property
    def body(self) -> bytes:
        """The digit as the demo's JSON."""
        return json.dumps({"data": self.pixels}).encode()


def known_digits(mesh: MeshUnderTest, path: str = "/predictions/digits") -> list[Digit]:
    """Return two digits of each label that the model gets right; a label of the data set, not of an earlier answer."""
    _, held_out = load_split()
    by_label: dict[int, list[Digit]] = {label: [] for label in range(10)}
    for pixels, label in zip(held_out.pixels, held_out.labels, strict=True):
        digit = Digit(tuple(int(level) for level in pixels), int(label))
        if len(by_label[digit.label]) < _PER_LABEL and predict(mesh, digit, path) == digit.label:
            by_label[digit.label].append(digit)
    digits = [digit for some in by_label.values() for digit in some]
    assert len(digits) == 10 * _PER_LABEL
    return digits


def predict(mesh: MeshUnderTest, digit: Digit, path: str = "/predictions/digits") -> int:
    """Return the label that the mesh gives the digit."""
    headers = {"content-type": "application/json"}
    answer = mesh.api.post(path, content=digit.body, headers=headers).raise_for_status()
    return _decode(answer.content).label


def request_bytes(
    mesh: MeshUnderTest, path: str, body: bytes, *, method: str = "POST", headers: Mapping[str, str] = NOTHING
) -> bytes:
    """Return a whole request with the mesh's key, as a raw client sends it."""
    fields = {
        "host": urlsplit(mesh.inference).netloc,
        "authorization": f"Bearer {mesh.key}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def traffic(
    mesh: MeshUnderTest, digits: Sequence[Digit]
) -> tuple[Callable[[int], bytes], Callable[[int, int, bytes], bool]]:
    """Return what makes the request of an index, and what says whether its answer is right."""
    requests = [request_bytes(mesh, "/predictions/digits", digit.body) for digit in digits]

    def make_request(index: int) -> bytes:
        return requests[index % len(requests)]

    def check(index: int, status: int, body: bytes) -> bool:
        return status == 200 and _decode(body).label == digits[index % len(digits)].label

    return make_request, check
