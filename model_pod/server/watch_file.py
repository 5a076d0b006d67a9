"""How policy wants the rows of a pod's model summarised: read from a file whenever that changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from model_pod.wire.inference import Watch, WatchedPart
from policies.snapshot.watching import Drift, Watched

FILE_BYTES = 16 * 2**20

_decode = msgspec.json.Decoder(dict[str, Drift]).decode


class WatchFile:
    """The file, for one model.

    Args:
        say: told once of a file that cannot be read; what was read before holds.
    """

    def __init__(self, path: str, model: str, say: Callable[[str], None]) -> None:
        self._path = Path(path)
        self._model = model
        self._say = say
        self._seen: tuple[int, int, int] | None = None
        self._watch = Watch()
        self._trouble = ""

    def changed(self) -> Watch | None:
        """Return how rows are to be summarised, if that is otherwise than before."""
        try:
            status = os.stat(self._path)
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return None
            if status.st_size > FILE_BYTES:
                raise OSError(f"longer than {FILE_BYTES} bytes")
            data = self._path.read_bytes()
            self._seen = seen  # broken or not: only another is looked at again
            drift = _decode(data).get(self._model)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say_trouble(str(error))
            return None
        self._trouble = ""
        watch = Watch() if drift is None else asked(drift)
        if watch == self._watch:
            return None
        self._watch = watch
        return watch

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._say(f"how rows are watched cannot be read: {trouble}")
        self._trouble = trouble


def asked(drift: Drift) -> Watch:
    """Return what the inference process is to do for a policy."""
    return Watch(drift.sample, tuple(map(_part, drift.inputs)), tuple(map(_part, drift.outputs)))


def _part(watched: Watched) -> WatchedPart:
    return WatchedPart(watched.path, watched.at_least, watched.at_most, watched.classes)
