"""What a handler is told about its model and its requests, and how it sets status and headers of each answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ts.metrics.metrics_store import MetricsStore


class RequestProcessor:
    """One request's header fields, and what the handler wants in its answer's head."""

    def __init__(self, request_header: Mapping[str, Any] | None = None) -> None:
        self._request_header = dict(request_header or {})
        self._folded = {key.casefold(): value for key, value in self._request_header.items()}
        self._status_code = 200
        self._reason_phrase = ""
        self._response_header: dict[str, str] = {}

    def get_request_property(self, key: str) -> Any:
        """Return a field by the client's spelling, or else by any spelling; None when the client sent none."""
        if key in self._request_header:
            return self._request_header[key]
        return self._folded.get(key.casefold())

    def get_request_properties(self) -> dict[str, Any]:
        return self._request_header

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        self._status_code = code
        self._reason_phrase = reason_phrase or ""

    def get_response_status_code(self) -> int:
        return self._status_code

    def get_response_status_phrase(self) -> str:
        return self._reason_phrase

    def add_response_property(self, key: str, value: str) -> None:
        self._response_header[key] = value

    def get_response_headers(self) -> dict[str, str]:
        return self._response_header

    def get_response_header(self, key: str) -> str | None:
        return self._response_header.get(key)


class Outlet(Protocol):
    """Where pieces of answers go while a batch runs."""

    def send(self, values: Mapping[int, Any]) -> bool:
        """Send a piece to some rows, by their index in ``data``; return whether anybody is left in the batch."""
        ...

    def is_cancelled(self, index: int) -> bool:
        """Whether nobody waits for this row any more."""
        ...


class Context:
    """One per model, for its whole life; handlers keep their own attributes on it, so it takes any."""

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any],
        batch_size: int,
        gpu: int | None,
        mms_version: str,
        limit_max_image_pixels: bool = True,
        metrics: MetricsStore | None = None,
        model_yaml_config: dict[str, Any] | None = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.model_yaml_config = model_yaml_config or {}
        self.system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            "server_name": "MMS",
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }
        self.request_ids: dict[int, str] = {}
        self.request_processor: list[RequestProcessor] = [RequestProcessor()]
        self.metrics = metrics or MetricsStore()
        self.stopping_criteria: Any = None
        self.outlet: Outlet | None = None

    def get_request_id(self, idx: int = 0) -> str | None:
        return self.request_ids.get(idx)

    def is_cancelled(self, idx: int = 0) -> bool:
        """Return whether nobody waits for this row any more, so that what is still computed for it is lost."""
        return self.outlet is not None and self.outlet.is_cancelled(idx)

    def get_request_header(self, idx: int, key: str) -> Any:
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        return self.request_processor[idx].get_request_properties()

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        return self.request_processor[idx].get_response_header("content-type")

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        for processor in self.request_processor:
            processor.report_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        processor = self.request_processor[idx]
        return processor.get_response_status_code(), processor.get_response_status_phrase()

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        return self.request_processor[idx].get_response_headers()
