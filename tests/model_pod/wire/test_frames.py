"""Frames: what one end encodes the other one takes, and what it would not take is not encoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.wire import frames
from model_pod.wire.frames import BadFrame, FrameDecoder, encode
from model_pod.wire.inference import Run
from model_pod.wire.rows import Row


def _run(url_path: str = "") -> Run:
    return Run(7, (Row("r", url_path=url_path),))


@given(st.lists(st.binary(max_size=50), max_size=4), st.integers(1, 40))
def test_a_frame_comes_out_as_it_went_in_however_it_is_cut(blobs: list[bytes], cut: int) -> None:
    stream = b"".join(encode(_run(), blobs)) * 2
    decoder = FrameDecoder(Run)
    found = [frame for at in range(0, len(stream), cut) for frame in decoder.feed(stream[at : at + cut])]
    assert [(message, [bytes(blob) for blob in views]) for message, views in found] == [(_run(), blobs)] * 2


def test_a_head_that_the_other_end_would_refuse_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    head_bytes = len(encode(_run("x" * 100))[1])
    monkeypatch.setattr(frames, "MAX_HEAD_BYTES", head_bytes)
    fits = b"".join(encode(_run("x" * 100)))
    assert [message for message, _ in FrameDecoder(Run).feed(fits)] == [_run("x" * 100)]
    with pytest.raises(ValueError, match=f"a head of {head_bytes + 1} bytes"):
        encode(_run("x" * 101))
    with pytest.raises(BadFrame, match="over the limit"):
        list(FrameDecoder(Run, most_head_bytes=head_bytes - 1).feed(fits))
