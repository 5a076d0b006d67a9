"""Talks to a mesh with ``tritonclient.grpc`` and prints what it got as JSON; runs in that client's own environment."""

from __future__ import annotations

import json
import queue
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tritonclient.grpc as triton

MODEL = "digits"


def main() -> None:
    """Read ``{"address", "key", "rows"}`` from standard input and ask everything once."""
    given = json.load(sys.stdin)
    rows = np.array(given["rows"], dtype=np.float32)
    client = triton.InferenceServerClient(url=given["address"])
    headers = {"authorization": f"Bearer {given['key']}"}
    json.dump(
        {
            "health": health(client, headers),
            "model": client.get_model_metadata(MODEL, headers=headers, as_json=True),
            "server": client.get_server_metadata(headers=headers, as_json=True),
            "inferred": labels(client.infer(MODEL, [tensor(rows)], headers=headers, request_id="from-triton")),
            "compressed": labels(
                client.infer(MODEL, [tensor(rows)], headers=headers, compression_algorithm="gzip", model_version="1")
            ),
            "streamed": streamed(given["address"], headers, rows),
            "errors": errors(client, headers, rows),
        },
        sys.stdout,
    )
    client.close()


def health(client: Any, headers: dict[str, str]) -> dict[str, bool]:
    """Ask who is there; the server's health needs no key."""
    return {
        "server_live": client.is_server_live(),
        "server_ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL, headers=headers),
        "version_ready": client.is_model_ready(MODEL, "1", headers=headers),
    }


def tensor(rows: NDArray[Any], datatype: str = "FP32", name: str = "pixels") -> Any:
    """Return the input tensor."""
    made = triton.InferInput(name, list(rows.shape), datatype)
    made.set_data_from_numpy(rows)
    return made


def labels(result: Any) -> list[int]:
    """Return what was inferred, as numpy sees it."""
    inferred: list[int] = result.as_numpy("label").tolist()
    return inferred


def streamed(address: str, headers: dict[str, str], rows: NDArray[Any]) -> list[Any]:
    """Infer each row, and once on a model that is not there, as requests of one stream."""
    client = triton.InferenceServerClient(url=address)
    came: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: came.put((result, error)), headers=headers)
    answers: list[Any] = []
    for model, row in [(MODEL, rows[:1]), ("nobody", rows[:1]), (MODEL, rows[1:2])]:
        client.async_stream_infer(model, [tensor(row)])
        result, error = came.get(timeout=20)
        answers.append(labels(result) if error is None else error.message())
    client.stop_stream()
    client.close()
    return answers


def errors(client: Any, headers: dict[str, str], rows: NDArray[Any]) -> dict[str, list[str | None]]:
    """Do what is wrong, and return the status and message of each error as the client raises it."""
    wrong = {
        "shape": (MODEL, tensor(rows[:, :63].copy()), headers),
        "datatype": (MODEL, tensor(rows.astype(np.int64), "INT64"), headers),
        "model": ("nobody", tensor(rows), headers),
        "key": (MODEL, tensor(rows), {"authorization": "Bearer nobody"}),
    }
    raised: dict[str, list[str | None]] = {}
    for what, (model, given, with_headers) in wrong.items():
        try:
            client.infer(model, [given], headers=with_headers)
        except triton.InferenceServerException as error:
            raised[what] = [error.status(), error.message()]
    return raised


if __name__ == "__main__":
    main()
