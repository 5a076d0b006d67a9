"""Runs a handler's stages over small parts of a batch, so that one part is preprocessed while another is inferred."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

STAGES = ("preprocess", "inference", "postprocess")


class MicroBatching:
    """Stands in for ``handle``: ``self.handle = MicroBatching(self, micro_batch_size=4)``.

    Args:
        parent_handler: has ``preprocess``, ``inference`` and ``postprocess``.
        micro_batch_size: rows of one part; 1 or more.
        parallelism: threads of each stage; 1 where a stage is not named.
    """

    def __init__(
        self, parent_handler: Any, micro_batch_size: int = 1, parallelism: Mapping[str, int] | None = None
    ) -> None:
        if micro_batch_size < 1:
            raise ValueError("micro_batch_size must be 1 or more")
        self.handler = parent_handler
        self.micro_batch_size = micro_batch_size
        self._pools = {
            stage: ThreadPoolExecutor((parallelism or {}).get(stage, 1), thread_name_prefix=stage) for stage in STAGES
        }

    def shutdown(self) -> None:
        for pool in self._pools.values():
            pool.shutdown()

    def __call__(self, data: list[Any], context: Any) -> list[Any]:
        # Each stage waits only for the one before it, in the same part; the pools are apart, so no wait is circular.
        parts = [data[at : at + self.micro_batch_size] for at in range(0, len(data), self.micro_batch_size)]
        running: list[Callable[[], Any]] = [lambda part=part: part for part in parts]  # type: ignore[misc]
        for stage in STAGES:
            work = getattr(self.handler, stage)
            running = [_submit(self._pools[stage], work, before) for before in running]
        return [answer for result in running for answer in result()]


def _submit(pool: ThreadPoolExecutor, work: Callable[[Any], Any], before: Callable[[], Any]) -> Callable[[], Any]:
    future: Future[Any] = pool.submit(lambda: work(before()))
    return future.result
