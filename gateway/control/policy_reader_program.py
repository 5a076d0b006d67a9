"""``python -m gateway.control.policy_reader_program``: reads one policy directory, says what it says, and ends.

The directory's path comes on standard input when it is wanted, the answer goes to standard output as one msgpack value.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

import msgspec
from setproctitle import setproctitle

from gateway.control.policy_reader import LIMIT_S, Reading
from gateway.trial.policy_tests import failures
from policies.errors import PolicyError, PolicyRefused
from policies.load import load_directory

_MEMORY_BYTES = 1024 * 1024 * 1024
_PATH_BYTES = 64 * 1024


def main() -> None:
    """Wait for a path and answer; without a path there is nothing to do."""
    setproctitle("penstock gateway policy reader")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    # It lives for one reading: what nobody needs any more may stay.
    gc.disable()
    path = sys.stdin.buffer.read(_PATH_BYTES)
    if path:
        # Whoever asked gives up then and ends us; this is for the case that they are gone.
        signal.alarm(int(LIMIT_S) + 1)
        sys.stdout.buffer.write(msgspec.msgpack.encode(read(Path(os.fsdecode(path)))))
        sys.stdout.flush()


def read(directory: Path) -> Reading:
    """Load a directory and try its tests."""
    try:
        snapshot = load_directory(directory)
        failed = failures(snapshot)
    except PolicyRefused as refused:
        return Reading(errors=refused.errors)
    except OSError as error:
        place = str(error.filename or directory)
        return Reading(errors=(PolicyError(place, 1, 1, f"it cannot be read: {error.strerror}", "Make it readable."),))
    except MemoryError:
        fix = "Look for a file that is far larger than it should be."
        return Reading(errors=(PolicyError(".", 1, 1, "the check needs more than 1 GiB of memory", fix),))
    return Reading(errors=tuple(failed)) if failed else Reading(snapshot)


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except Exception:  # told on stderr, and by the status to whoever waits: nothing passes os._exit
        traceback.print_exc()
    finally:
        # Taking a large policy apart piece by piece takes longer than reading it.
        os._exit(status)
