"""Asks the pod how it is: one bounded exchange over its Unix socket or TCP."""

from __future__ import annotations

import asyncio

from telemetry.sidecar.account import PodAccount, PodSilent, is_whole, read_answer
from telemetry.sidecar.config import Address

ANSWER_WITHIN_S = 1.0
# A status is 300 bytes; what is longer than this is something else.
ANSWER_BYTES = 64 * 1024
_STATUS_PATH = "/penstock/pod"


async def ask(pod: Address) -> PodAccount:
    """Return the pod's account of itself.

    Raises:
        PodSilent: it gave none, within a second.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            answer = await _exchange(pod)
    except TimeoutError as error:
        raise PodSilent(f"no answer within {ANSWER_WITHIN_S:g} s") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise PodSilent("nothing listens at its address") from error
    except OSError as error:
        raise PodSilent(str(error) or type(error).__name__) from error
    return read_answer(answer)


async def _exchange(pod: Address) -> bytes:
    """Send the question and read until the answer is whole, or the pod closes as it is asked to."""
    reader, writer = await _connect(pod)
    try:
        host = "pod" if pod.path else str(pod)
        writer.write(f"GET {_STATUS_PATH} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode("latin-1"))
        answer = bytearray()
        while not is_whole(answer) and (piece := await reader.read(ANSWER_BYTES)):
            answer += piece
            if len(answer) > ANSWER_BYTES:
                raise PodSilent(f"its answer is longer than {ANSWER_BYTES} bytes")
        return bytes(answer)
    finally:
        writer.transport.abort()


async def _connect(pod: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if pod.path:
        return await asyncio.open_unix_connection(pod.path)
    return await asyncio.open_connection(pod.host, pod.port)
