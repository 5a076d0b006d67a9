"""Finds an archive's handler as TorchServe does: a module-level function, or else the module's one class."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ts.context import Context
from ts.utils.util import list_classes_from_module

from model_pod.engine.manifest import split_handler

DEFAULT_FUNCTION = "handle"
# What `torch-model-archiver --handler` takes by name alone. Source: TorchServe's "Default handlers".
_TORCHSERVES_OWN = frozenset(("image_classifier", "image_segmenter", "object_detector", "text_classifier"))


class HandlerUnusable(Exception):
    """The archive's handler cannot be used; the text is for the model's owner."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler that is ready to be called.

    Attributes:
        instance: the handler object; None for a module-level function.
    """

    function: Callable[[list[dict[str, Any]] | None, Context], Any] | None
    instance: Any = None

    def handle(self, data: list[dict[str, Any]], context: Context) -> Any:
        # Looked up at each call: handlers replace their own ``handle``, MicroBatching for one.
        return self.function(data, context) if self.function else self.instance.handle(data, context)


def load_handler(model_dir: Path, handler: str, context: Context) -> Handler:
    """Import the handler's module, find its entry and let it initialize itself.

    Raises:
        HandlerUnusable: there is no such module, or nothing in it that can handle.
        Exception: whatever the handler raises itself.
    """
    if not handler:
        raise HandlerUnusable("The archive names no handler; write one into MAR-INF/MANIFEST.json.")
    file, function_name = split_handler(handler)
    module = _import_module(model_dir, file)
    entry = getattr(module, function_name or DEFAULT_FUNCTION, None)
    if callable(entry):
        _refuse_coroutines(entry)
        entry(None, context)
        return Handler(function=entry)
    return Handler(function=None, instance=_make_instance(module, context))


def _import_module(model_dir: Path, file: str) -> ModuleType:
    # The directory of the handler comes first, then the archive's, as TorchServe orders them.
    for directory in (model_dir, (model_dir / file).parent):
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
    name = file.rpartition("/")[2].removesuffix(".py")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    try:
        return importlib.import_module(f"ts.torch_handler.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"ts.torch_handler.{name}":
            raise
    mend = (
        "TorchServe's handler of that name is not built in here. Put one of yours there, such as a BaseHandler."
        if name in _TORCHSERVES_OWN
        else "no handler of that name is built in. Put it there."
    )
    raise HandlerUnusable(f"There is no {name}.py in the archive, and {mend}")


def _make_instance(module: ModuleType, context: Context) -> Any:
    classes = list_classes_from_module(module)
    if len(classes) != 1:
        found = ", ".join(item.__name__ for item in classes) or "none"
        raise HandlerUnusable(
            f"The handler must have a function `{DEFAULT_FUNCTION}` or exactly one class; its classes: {found}."
        )
    entry = getattr(classes[0], "handle", None)
    if not callable(entry):
        raise HandlerUnusable(f"The class {classes[0].__name__} has no method `handle`.")
    _refuse_coroutines(entry)
    instance = classes[0]()
    if hasattr(instance, "initialize"):
        instance.initialize(context)
    return instance


def _refuse_coroutines(entry: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(entry):
        raise HandlerUnusable("The handler is asynchronous (`async def handle`), which is not available yet.")
