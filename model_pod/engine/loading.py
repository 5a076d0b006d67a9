"""Loads a model: its device, manifest, configuration, context and handler, or one message saying why not."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from ts import __version__ as torchserve_version
from ts.context import Context

from model_pod.engine.device import CudaDevice, DeviceNotThere, choose_device, gpu_id
from model_pod.engine.extraction.limits import ArchiveRefused
from model_pod.engine.failures import describe, is_out_of_memory, traceback_of
from model_pod.engine.handler import HandlerUnusable, load_handler
from model_pod.engine.manifest import read_manifest
from model_pod.engine.model_config import read_model_config
from model_pod.engine.stages import BatchRunner
from model_pod.engine.tracing import Tracing
from model_pod.wire.inference import Load, Loaded, LoadFailed


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that answers from now on."""

    runner: BatchRunner
    loaded: Loaded


def load_model(load: Load, tracing: Tracing) -> LoadedModel | LoadFailed:
    """Load what the server asks for; nothing the handler does while loading gets past this function but a hard exit."""
    started_s = time.perf_counter()
    try:
        runner, device = _load(load, tracing)
        records_spans = tracing.start(load)
    except (HandlerUnusable, ArchiveRefused, DeviceNotThere) as error:
        return LoadFailed(str(error), detail="")
    except BaseException as error:
        # SystemExit and KeyboardInterrupt too: the server is owed a reason.
        message = f"The handler failed while it was loaded: {describe(error)}"
        return LoadFailed(message, traceback_of(error), out_of_memory=is_out_of_memory(error))
    load_s = time.perf_counter() - started_s
    return LoadedModel(runner, Loaded(device, load_s, runner.timed_stages, records_spans))


def _load(load: Load, tracing: Tracing) -> tuple[BatchRunner, str]:
    model_dir = Path(load.model_dir)
    manifest = read_manifest(model_dir, load.model)
    config = read_model_config(model_dir, manifest.config_file)
    device = choose_device(load.device, config.device_type, look_at_devices())
    gpu = gpu_id(device)
    if gpu is not None:
        torch.cuda.set_device(gpu)
    context = Context(
        model_name=load.model,
        model_dir=str(model_dir),
        manifest=manifest.raw,
        batch_size=load.max_rows,
        gpu=gpu,
        mms_version=torchserve_version,
        model_yaml_config=config.raw,
    )
    # Handlers open their files by relative names. Bytecode would change the tree that is checked by digest.
    os.chdir(model_dir)
    sys.dont_write_bytecode = True
    handler = load_handler(model_dir, manifest.handler, context)
    return BatchRunner(handler, context, config.signature, device, tracing), device


def look_at_devices() -> list[CudaDevice]:
    """Return every CUDA device with its free memory; with one device there is nothing to compare."""
    if not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    if count == 1:
        return [CudaDevice(0, 0)]
    return [CudaDevice(index, torch.cuda.mem_get_info(index)[0]) for index in range(count)]
