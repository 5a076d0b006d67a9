from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from model_pod.engine.archive import open_archive
from model_pod.wire.inference import Loaded, LoadFailed
from model_pod.wire.rows import Row, RowAnswer, RowRefused, Tensor
from telemetry.logs.log import FORMAT_VARIABLE
from tests.fakes.archives.layout import archive_files, write_directory
from tests.model_pod.engine.process import engine
from tests.readable import readable_within

HOSTILE_HANDLER = """
import ctypes, os, sys
from ts.utils.util import PredictionException

def handle(data, context):
    if data is None:
        return None
    bodies = [bytes(row["body"]).decode() for row in data]
    for body in bodies:
        if body == "raise": raise ValueError("bad item in /srv/models/secret.txt")
        if body == "exit": sys.exit(5)
        if body == "memory": raise MemoryError()
        if body == "refuse": raise PredictionException("not a digit", 422)
        if body == "mute": sys.stderr.close(); raise ValueError("mute")
        if body == "die": os._exit(9)
        if body == "lost": raise RuntimeError("CUDA error: device-side assert triggered")
    if "print" in bodies:
        print("x" * 3_000_000)
        os.write(1, b"y" * 100_000)
    if "short" in bodies:
        return [1] * (len(bodies) - 1)
    return [{1, 2} if body == "set" else body for body in bodies]
"""

STAGED_HANDLER = """
import time, torch

class Digits:
    def initialize(self, context):
        self.offset = context.model_yaml_config["handler"]["offset"]
    def preprocess(self, data):
        time.sleep(0.02)
        return torch.stack([row["pixels"] for row in data])
    def inference(self, pixels):
        time.sleep(0.03)
        return pixels.sum(dim=1) + self.offset
    def postprocess(self, sums):
        time.sleep(0.01)
        return [{"sum": value, "size": "big" if value > 5 else "small"} for value in sums]
    def handle(self, data, context):
        return self.postprocess(self.inference(self.preprocess(data)))
"""

STAGED_CONFIG = """
handler: {offset: 1}
signature:
  inputs: [{name: pixels, datatype: FP32, shape: [-1, 2]}]
  outputs: [{name: sum, datatype: FP32, shape: [-1]}, {name: size, datatype: BYTES, shape: [-1]}]
"""


def test_a_hostile_handler_costs_only_the_rows_that_provoke_it(tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "echo", archive_files(HOSTILE_HANDLER))
    with engine(tmp_path) as inference:
        loaded = inference.load(directory)
        assert isinstance(loaded, Loaded)
        assert (loaded.device, loaded.timed_stages) == ("cpu", False)
        assert inference.run_bodies(b"a", b"raise", b"b", b"exit") == [b"a", "handler_failed", b"b", "handler_failed"]
        assert inference.run_bodies(b"memory", b"a", b"refuse") == ["out_of_memory", b"a", "row_refused"]
        assert inference.run_bodies(b"a", b"short", b"set", b"print") == [b"a", "bad_output", "bad_output", b"print"]
        assert inference.run_bodies(b"a", b"mute") == [b"a", "handler_failed"]
        assert inference.run_bodies(b"lost", b"a") == ["inference_lost", "inference_lost"]
        assert inference.process.wait(30) == 3
        assert inference.process.stdout is not None
        assert inference.process.stdout.read() == b""
    log = (tmp_path / "stderr.log").read_text()
    assert "bad item in /srv/models/secret.txt" in log
    assert log.count("x") > 3_000_000


def test_stages_are_timed_apart_and_tensors_come_back_by_the_signature(tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "echo", archive_files(STAGED_HANDLER, STAGED_CONFIG))
    with engine(tmp_path) as inference:
        loaded = inference.load(open_archive(directory, tmp_path / "extracted").directory)
        assert isinstance(loaded, Loaded)
        assert loaded.timed_stages
        rows = [Row(f"id-{i}", tensors=(Tensor("pixels", "FP32", (2,), i),)) for i in range(2)]
        ran, blobs = inference.run(rows, [struct.pack("<2f", 1, 2), struct.pack("<2f", 3, 4)])
        first, second = ran.outcomes
        assert isinstance(first, RowAnswer)
        assert isinstance(second, RowAnswer)
        assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in second.tensors] == [
            ("sum", "FP32", ()),
            ("size", "BYTES", ()),
        ]
        assert [blobs[tensor.blob] for tensor in first.tensors] == [struct.pack("<f", 4), b"\x05\0\0\0small"]
        assert [blobs[tensor.blob] for tensor in second.tensors] == [struct.pack("<f", 8), b"\x03\0\0\0big"]
        assert ran.stages.preprocess_s >= 0.02
        assert ran.stages.postprocess_s >= 0.01
        assert 0.03 <= ran.device_s <= ran.stages.inference_s
        assert inference.end() == 0


def test_a_recorded_torchserve_archive_answers_as_recorded(tmp_path: Path) -> None:
    archives = Path(__file__).parents[2] / "conformance" / "torchserve" / "archives"
    if not archives.is_dir():
        pytest.skip("the recorded archives are not in this checkout")
    archive = open_archive(archives / "batch", tmp_path / "extracted")
    with engine(tmp_path) as inference:
        assert isinstance(inference.load(archive.directory), Loaded)
        answers = inference.run_bodies(b"one", b"raise", b"pe", b"two")
        answers += inference.run_bodies(b"obj")  # this handler answers objects to the whole batch
    assert [answer for answer in answers if isinstance(answer, str)] == ["handler_failed", "row_refused", "bad_output"]
    first = answers[0]
    assert isinstance(first, bytes)
    body = json.loads(first)
    assert (body["b"], body["rid"], body["explain"], body["url"], body["gpu"]) == ("one", True, "False", "", None)
    assert body["my"]["maxBatchDelay"] == 500
    assert body["sp"] == [
        "batch_size",
        "gpu_id",
        "limit_max_image_pixels",
        "model_dir",
        "server_name",
        "server_version",
    ]


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("raise RuntimeError('boom at import')", "RuntimeError: boom at import"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        (
            "class A:\n    def initialize(self, c): raise KeyError('k')\n    def handle(s, d, c): 0",
            "KeyError: 'k'",
        ),
        ("import sys\ndef handle(data, context): sys.exit(3)", "SystemExit: 3"),
        ("async def handle(data, context): pass", "asynchronous"),
        ("x = 1", "exactly one class; its classes: none"),
    ],
)
def test_a_handler_that_does_not_load_says_why_and_the_process_ends(handler: str, message: str, tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "echo", archive_files(handler))
    with engine(tmp_path) as inference:
        answer = inference.load(directory)
        assert isinstance(answer, LoadFailed)
        assert message in answer.message
        assert str(tmp_path) not in answer.message
        assert answer.detail == "" or "Traceback (most recent call last)" in answer.detail
        assert ("Error: " in message) <= (message in answer.detail)
        assert inference.process.wait(30) == 1


def test_a_handler_that_kills_the_process_ends_the_stream(tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "echo", archive_files(HOSTILE_HANDLER))
    with engine(tmp_path) as inference:
        inference.load(directory)
        with pytest.raises(EOFError):
            inference.run_bodies(b"a", b"die")
        assert inference.process.wait(30) == 9


def test_the_process_ends_with_its_server_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    hung = "import time\ndef handle(data, context):\n    if data is not None: time.sleep(600)\n"
    directory = write_directory(tmp_path / "echo", archive_files(hung))
    with engine(tmp_path) as inference:
        inference.load(directory)
        inference.channel.settimeout(0.2)
        with pytest.raises(TimeoutError):
            inference.run_bodies(b"a")
        assert inference.end() == 0


NAMES_THAT_CANNOT_TRAVEL = """
import torch

def handle(data, context):
    if data is None:
        return None
    if "error" in data[0]:
        raise ValueError("half a pair: \\ud800")
    return [{"\\ud800": row["x"]} for row in data]
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_names_and_messages_that_cannot_travel_cost_their_rows_and_not_the_process(
    log_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORMAT_VARIABLE, log_format)
    directory = write_directory(tmp_path / "echo", archive_files(NAMES_THAT_CANNOT_TRAVEL))
    with engine(tmp_path) as inference:
        assert isinstance(inference.load(directory), Loaded)
        for name, reason in (("x", "bad_output"), ("error", "handler_failed")) * 2:
            ran, _ = inference.run([Row("r", tensors=(Tensor(name, "UINT8", (1,), 0),))], [b"1"])
            (outcome,) = ran.outcomes
            assert isinstance(outcome, RowRefused)
            assert outcome.reason == reason
        assert inference.end() == 0


STUCK_IN_C = """
import ctypes

def handle(data, context):
    if data is not None:
        ctypes.PyDLL(None).sleep(600)  # which keeps the interpreter to itself
"""
SERVER = """
import sys
from pathlib import Path
from model_pod.wire.inference import Run
from model_pod.wire.rows import Row
from tests.model_pod.engine.process import Engine

inference = Engine(Path(sys.argv[2]))
inference.load(Path(sys.argv[1]))
inference.send(Run(7, (Row("r"),)))
print(inference.process.pid, flush=True)
sys.stdin.read()
"""


def test_a_handler_that_is_stuck_in_c_code_does_not_outlive_its_server(tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "echo", archive_files(STUCK_IN_C))
    argv = [sys.executable, "-c", SERVER, str(directory), str(tmp_path / "stderr.log")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        stuck = os.pidfd_open(int(server.stdout.readline()))
        try:
            server.kill()
            assert readable_within(stuck, 20.0)
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(stuck, signal.SIGKILL)
            os.close(stuck)
