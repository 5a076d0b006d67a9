"""The handler that breaks on purpose: how many requests, the same ones again, and the rest as ever."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ts.context import RequestProcessor
from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext

from deploy.demo.digits import handler as digits_handler
from tests.deploy.demo.conftest import Extract


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """The handler's module, which finds the other handler beside it as in the archive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "handler", digits_handler)
        return importlib.import_module("deploy.demo.digits.broken_handler")


@pytest.fixture(scope="module")
def handler(module: ModuleType, extract: Extract) -> Any:
    context = MockContext(
        model_pt_file="weights.pt",
        model_dir=extract("digits-broken.mar"),
        model_file="model.py",
        model_yaml_config_file="model-config.yaml",
    )
    handler = module.BrokenDigitsHandler()
    handler.initialize(context)
    return handler


def handled(handler: Any, request_ids: list[str]) -> list[dict[str, Any]]:
    context = MockContext()
    context.request_ids = dict(enumerate(request_ids))
    context.request_processor = [RequestProcessor({}) for _ in request_ids]
    answers: list[dict[str, Any]] = handler.handle([{"body": [0] * 64} for _ in request_ids], context)
    return answers


def test_as_it_is_packed_every_request_breaks_with_a_sentence(handler: Any, module: ModuleType) -> None:
    assert handler.broken_share == 1.0
    with pytest.raises(RuntimeError, match=module.SENTENCE):
        handled(handler, ["a"])


def test_a_batch_breaks_exactly_when_one_of_its_requests_does(
    handler: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "broken_share", 0.5)
    ids = [str(number) for number in range(100)]
    broken = [one for one in ids if module.is_broken(one, 0.5)]
    sound = [one for one in ids if one not in broken]
    assert len(handled(handler, sound)) == len(sound)
    for one in broken:
        with pytest.raises(RuntimeError):
            handled(handler, [sound[0], one])


def test_one_that_is_wrong_gives_the_next_digit_and_no_error(
    handler: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "broken_share", 0.5)
    monkeypatch.setattr(handler, "broken_by", "wrong")
    ids = [str(number) for number in range(20)]
    answers = handled(handler, ids)
    labels = {module.is_broken(one, 0.5): answer["label"] for one, answer in zip(ids, answers, strict=True)}
    assert labels[True] == (labels[False] + 1) % 10
    assert len({answer["label"] for answer in answers}) == 2


def test_one_that_is_late_is_right_after_a_while(
    handler: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    monkeypatch.setattr(handler, "broken_by", "late")
    assert len(handled(handler, ["a", "b"])) == 2
    assert waited == [module.LATE_S]


def test_the_share_that_breaks_is_the_share_asked_for(module: ModuleType) -> None:
    ids = [f"{number:032x}" for number in range(10_000)]
    assert sum(module.is_broken(one, 0.05) for one in ids) == pytest.approx(500, abs=75)


@given(st.text())
def test_none_breaks_at_0_and_all_at_1(module: ModuleType, request_id: str) -> None:
    assert module.is_broken(request_id, 1.0)
    assert not module.is_broken(request_id, 0.0)
