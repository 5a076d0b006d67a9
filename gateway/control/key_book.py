"""Key book: which keys are revoked, told to every worker at once, and when each credential was last used."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.control.events import Say
from gateway.control.key_reports import KeysReport
from gateway.control.key_states import KeyUse, Revocation, keys_report
from gateway.control.messages import FromWorker, KeyUses, Revoked
from gateway.control.state_dir import StateRefused, write_private
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from telemetry.logs.line import warning

REVOKED_FILE = "revoked-keys.json"
USES_FILE = "key-uses.json"
MAX_REVOKED = 10_000
# Tokens have an id for each subject; when there are more, those that were used longest ago are forgotten.
MAX_USES = 20_000
_SAVE_EVERY_S = 10.0


class _Uses(Struct):
    since_s: float
    last_used_s: dict[str, float] = {}


class KeyBook(WorkerListener):
    """What the mesh knows of keys beside policy.

    Attributes:
        revoked: ids that are refused whatever policy says.

    Args:
        publish: tells every worker, and each that starts later.

    Raises:
        StateRefused: the file of revoked keys cannot be read. Without it keys would work again that nobody wants to.
    """

    def __init__(self, state_dir: Path, publish: Callable[[Revoked], None], say: Say) -> None:
        self._revoked_path = state_dir / REVOKED_FILE
        self._uses_path = state_dir / USES_FILE
        self._publish = publish
        self._say = say
        self._revoked = _read_revoked(self._revoked_path)
        self._uses = _read_uses(self._uses_path)
        self._unsaved = False
        self.revoked: frozenset[str] = frozenset()
        self._publish_revoked()

    def revoke(self, credential_id: str, by: str, reason: str) -> bool:
        """Take a credential out of use, here and in every worker; return False if it was so already.

        Raises:
            Refused: keys_not_kept, if that cannot be kept for the next start, or too many are revoked; nothing changed.
        """
        if credential_id in self._revoked:
            return False
        self.check_room()
        self._replace(self._revoked | {credential_id: Revocation(by, reason, time.time())})
        return True

    def check_room(self) -> None:
        """Look whether one more credential can be revoked.

        Raises:
            Refused: keys_not_kept.
        """
        if len(self._revoked) >= MAX_REVOKED:
            message = f"{MAX_REVOKED} keys are revoked: remove some from policy, then restore them here."
            raise Refused("keys_not_kept", message)

    def restore(self, credential_id: str) -> bool:
        """Let a revoked credential be used again as policy says; return False if it was not revoked.

        Raises:
            Refused: keys_not_kept.
        """
        if credential_id not in self._revoked:
            return False
        self._replace({id_: one for id_, one in self._revoked.items() if id_ != credential_id})
        return True

    def _replace(self, revoked: dict[str, Revocation]) -> None:
        """Keep first, then tell: what a worker refuses, a restart of everything refuses too."""
        try:
            write_private(self._revoked_path, msgspec.json.format(msgspec.json.encode(revoked)) + b"\n")
        except OSError as error:
            message = f"Nothing was changed: the state directory cannot be written ({error.strerror})."
            raise Refused("keys_not_kept", message) from error
        self._revoked = revoked
        self._publish_revoked()

    def _publish_revoked(self) -> None:
        self.revoked = frozenset(self._revoked)
        self._publish(Revoked(tuple(self._revoked)))

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Note what credentials a worker saw."""
        if not isinstance(message, KeyUses) or not message.last_used_s:
            return
        uses = self._uses.last_used_s
        for credential_id, at_s in message.last_used_s.items():
            uses[credential_id] = max(at_s, uses.get(credential_id, at_s))
        if len(uses) > MAX_USES:
            for credential_id in heapq.nsmallest(len(uses) - MAX_USES * 9 // 10, uses, key=uses.__getitem__):
                del uses[credential_id]
        self._unsaved = True

    def report(self, snapshot: Snapshot) -> KeysReport:
        """Return every key of a generation, and what is known of it."""
        use = KeyUse(self._uses.since_s, self._uses.last_used_s)
        return keys_report(snapshot, self._revoked, use, time.time())

    async def run(self) -> None:
        """Keep last uses for the next start, every now and then, for ever."""
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            if self._unsaved:
                await self._save_uses()

    def stop(self) -> None:
        """Keep last uses."""
        if self._unsaved:
            self._write_uses(msgspec.json.encode(self._uses))

    async def _save_uses(self) -> None:
        self._unsaved = False
        writing = asyncio.ensure_future(asyncio.to_thread(self._write_uses, msgspec.json.encode(self._uses)))
        try:
            await asyncio.shield(writing)
        finally:  # when it is cancelled too: what `stop` writes is newer, and this must not come after it
            await asyncio.wait((writing,))
            self._unsaved = self._unsaved or not writing.result()

    def _write_uses(self, content: bytes) -> bool:
        try:
            write_private(self._uses_path, content)
        except OSError as error:
            self._say(warning(f"when keys were last used cannot be kept for the next start: {error.strerror}"))
            return False
        return True


def _read_revoked(path: Path) -> dict[str, Revocation]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Revocation])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateRefused(
            f"the revoked keys in {path} cannot be read ({error}): mend it, or remove it to accept those keys again"
        ) from error


def _read_uses(path: Path) -> _Uses:
    """Last uses are for people; a file that cannot be read begins anew."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Uses)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return _Uses(time.time())
