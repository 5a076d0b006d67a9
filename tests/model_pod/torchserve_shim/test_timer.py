from __future__ import annotations

from typing import Any

import pytest
from ts.handler_utils.timer import timed
from ts.metrics.metric_type_enum import MetricTypes
from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext


class Timed:
    def __init__(self, context: Any) -> None:
        self.context = context

    @timed
    def preprocess(self, number: int) -> int:
        return number + 1


@pytest.mark.parametrize(("config", "kept"), [({"handler": {"profile": True}}, 1), ({}, 0), ({"handler": None}, 0)])
def test_a_stage_is_timed_where_the_config_asks_for_it(config: dict[str, Any], kept: int) -> None:
    context = MockContext()
    context.model_yaml_config = config
    assert Timed(context).preprocess(1) == 2
    assert len(context.metrics.cache) == kept
    if kept:
        assert context.metrics.get_metric("ts_handler_preprocess", MetricTypes.GAUGE).values[()] >= 0
