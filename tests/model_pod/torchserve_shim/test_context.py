from __future__ import annotations

from ts.context import Context, RequestProcessor


def test_headers_are_found_in_any_spelling_and_kept_in_the_clients() -> None:
    processor = RequestProcessor({"X-Test": "v", "x-TEST": "w"})
    assert [processor.get_request_property(key) for key in ("X-Test", "x-TEST", "x-test", "x-other")] == [
        "v",
        "w",
        "w",
        None,
    ]
    assert processor.get_request_properties() == {"X-Test": "v", "x-TEST": "w"}


def test_each_row_has_its_own_status_and_headers() -> None:
    context = Context("m", "/models/m", {"model": {}}, 4, None, "0.12.0")
    context.request_processor = [RequestProcessor(), RequestProcessor()]
    context.set_response_status(418, "teapot", 1)
    context.set_response_content_type(0, "text/plain")
    assert [context.get_response_status(index) for index in (0, 1)] == [(200, ""), (418, "teapot")]
    assert [context.get_response_content_type(index) for index in (0, 1)] == ["text/plain", None]
    context.set_all_response_status(503)
    assert [context.get_response_status(index)[0] for index in (0, 1)] == [503, 503]


def test_the_cpu_has_no_gpu_id() -> None:
    properties = Context("m", "/models/m", {}, 4, None, "0.12.0").system_properties
    assert (properties["gpu_id"], properties["batch_size"], properties["model_dir"]) == (None, 4, "/models/m")
