"""An archive as the pod's server sees it: where it was extracted, and what it says about how to serve it."""

from __future__ import annotations

from dataclasses import dataclass

from model_pod.engine.archive import ArchiveRefused, open_archive
from model_pod.protocols.signature import Signature
from model_pod.server.batching import BatchingPolicy
from model_pod.server.config import DEFAULT_MAX_ROWS, DEFAULT_MAX_WAIT_S, MAX_ROWS, PodConfig


class ModelUnusable(Exception):
    """The archive cannot be served; the text is a sentence for its owner."""


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model that can be loaded.

    Attributes:
        model_dir: absolute path of the extracted archive.
        response_timeout_s: how long one batch may run.
        startup_timeout_s: how long loading may take.
        signature: None when the archive declares none.
        warnings: what was ignored in the archive's configuration.
    """

    model_dir: str
    policy: BatchingPolicy
    response_timeout_s: float = 120.0
    startup_timeout_s: float = 120.0
    signature: Signature | None = None
    warnings: tuple[str, ...] = ()


def open_model(config: PodConfig) -> OpenedModel:
    """Open the archive; blocks while it is extracted.

    Raises:
        ModelUnusable: it is no archive, a hostile one, or its configuration is wrong.
    """
    try:
        archive = open_archive(config.archive, config.extracted_dir)
    except ArchiveRefused as error:
        raise ModelUnusable(str(error)) from error
    said = archive.config
    delay_s = DEFAULT_MAX_WAIT_S if said.max_batch_delay_s is None else said.max_batch_delay_s
    policy = BatchingPolicy(
        max_rows=min(config.max_rows or said.batch_size or DEFAULT_MAX_ROWS, MAX_ROWS),
        max_wait_s=config.max_wait_s if config.max_wait_s >= 0 else delay_s,
    )
    return OpenedModel(
        model_dir=str(archive.directory.absolute()),
        policy=policy,
        response_timeout_s=said.response_timeout_s,
        startup_timeout_s=said.startup_timeout_s,
        signature=said.signature,
        warnings=said.warnings,
    )
