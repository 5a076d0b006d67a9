"""Talks to a mesh with ``tritonclient.http`` and prints what it got as JSON; runs in that client's own environment."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tritonclient.http as triton

MODEL = "digits"


def main() -> None:
    """Read ``{"address", "key", "rows"}`` from standard input and ask everything once."""
    given = json.load(sys.stdin)
    rows = np.array(given["rows"], dtype=np.float32)
    client = triton.InferenceServerClient(url=given["address"])
    headers = {"Authorization": f"Bearer {given['key']}"}
    json.dump(
        {
            "health": health(client, headers),
            "metadata": metadata(client, headers),
            "outputs_named": inferred(client, headers, rows, [output("label"), output("probabilities")]),
            "label_alone": inferred(client, headers, rows, [output("label")]),
            "outputs_by_default": inferred(client, headers, rows, None),
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
        "other_model_ready": client.is_model_ready("nobody", headers=headers),
    }


def metadata(client: Any, headers: dict[str, str]) -> dict[str, Any]:
    """Ask what the server is, and what the model takes and gives."""
    return {
        "server": client.get_server_metadata(headers=headers),
        "model": client.get_model_metadata(MODEL, headers=headers),
    }


def output(name: str) -> Any:
    """Return one wanted output, as JSON."""
    return triton.InferRequestedOutput(name, binary_data=False)


def tensor(rows: NDArray[Any], datatype: str = "FP32", name: str = "pixels") -> Any:
    """Return the input tensor, as JSON."""
    made = triton.InferInput(name, list(rows.shape), datatype)
    made.set_data_from_numpy(rows, binary_data=False)
    return made


def inferred(client: Any, headers: dict[str, str], rows: NDArray[Any], outputs: list[Any] | None) -> dict[str, Any]:
    """Infer, and return each output as numpy sees it."""
    result = client.infer(MODEL, [tensor(rows)], outputs=outputs, headers=headers, request_id="from-triton")
    response = result.get_response()
    arrays = {given["name"]: result.as_numpy(given["name"]) for given in response["outputs"]}
    return {
        "model": response["model_name"],
        "version": response["model_version"],
        "id": response["id"],
        "outputs": {
            name: {"dtype": str(array.dtype), "shape": array.shape, "values": array.tolist()}
            for name, array in arrays.items()
        },
    }


def errors(client: Any, headers: dict[str, str], rows: NDArray[Any]) -> dict[str, list[str | None]]:
    """Do what is wrong, and return the status and message of each error as the client raises it."""
    wrong = {
        "shape": (MODEL, tensor(rows[:, :63]), headers),
        "datatype": (MODEL, tensor(rows.astype(np.int64), "INT64"), headers),
        "input": (MODEL, tensor(rows, name="pixel"), headers),
        "model": ("nobody", tensor(rows), headers),
        "key": (MODEL, tensor(rows), {"Authorization": "Bearer nobody"}),
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
