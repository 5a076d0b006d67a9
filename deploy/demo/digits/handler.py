"""An ordinary TorchServe handler for the digits models: JSON pixels, a PNG image or an FP32 tensor in; a label out.

Pixels are those of scikit-learn's digits: 8 × 8, 0 (dark) to 16 (light), a light stroke on a dark ground.
"""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from PIL import Image
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import PredictionException

PIXEL_COUNT = 64
LIGHTEST = 16.0
MAX_IMAGE_PIXELS = 16_000_000  # a PNG of a few kilobytes can claim gigapixels; its head is read before its pixels
EXPECTED = (
    'send {"data": [64 numbers from 0 (dark) to 16 (light)]} as application/json, a PNG image, '
    "or an FP32 tensor `pixels` of 64"
)


class DigitsHandler(BaseHandler):
    """Answers ``{"label": digit, "probabilities": [ten numbers]}`` for each row."""

    def preprocess(self, data: list[dict[str, Any]]) -> torch.Tensor:
        """Return the batch's pixels: (rows, 64), FP32, on the model's device."""
        return torch.stack([row_pixels(row) for row in data]).to(self.device)

    def inference(self, data: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the batch's probabilities: (rows, 10), FP32."""
        with torch.inference_mode():
            return torch.softmax(self.model(data), dim=1)

    def postprocess(self, data: torch.Tensor) -> list[dict[str, Any]]:
        """Return one answer per row."""
        labels = data.argmax(dim=1).tolist()
        for index in range(len(labels)):
            self.context.set_response_content_type(index, "application/json")
        return [
            {"label": label, "probabilities": probabilities}
            for label, probabilities in zip(labels, data.tolist(), strict=True)
        ]


def row_pixels(row: dict[str, Any]) -> torch.Tensor:
    """Return one row's pixels: (64,), FP32, on the CPU.

    Raises:
        PredictionException: the row holds no digit; 422 with a sentence that says what to send. TorchServe then fails
            the whole batch; the pod finds the row and fails it alone.
    """
    value = next((row[name] for name in ("pixels", "data", "body") if name in row), None)
    if isinstance(value, (bytes, bytearray)):
        value = from_json(value) if value.lstrip()[:1] in (b"{", b"[") else from_png(value)
    if isinstance(value, dict):
        value = value.get("data")
    try:
        pixels = torch.as_tensor(value, dtype=torch.float32).cpu().flatten()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise PredictionException(f"the row holds no pixels: {EXPECTED}", 422) from None
    if pixels.numel() != PIXEL_COUNT:
        raise PredictionException(f"the row holds {pixels.numel()} pixels, a digit has 64: {EXPECTED}", 422)
    if not bool(((pixels >= 0) & (pixels <= LIGHTEST)).all()):
        raise PredictionException(f"a pixel is not from 0 to 16: {EXPECTED}", 422)
    return pixels


def from_json(body: bytes | bytearray) -> Any:
    """Decode JSON that came without its content type, as ``curl -T digit.json`` sends it."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PredictionException(f"the body is not JSON: {EXPECTED}", 422) from None


def from_png(body: bytes | bytearray) -> list[float]:
    """Shrink a PNG image of any size and colour to 64 pixels; what is transparent counts as dark."""
    try:
        with Image.open(io.BytesIO(body), formats=("PNG",)) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise PredictionException(f"the image has more than {MAX_IMAGE_PIXELS} pixels: send a smaller one", 422)
            small = as_gray(image).resize((8, 8), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise PredictionException(f"the body is not a PNG image: {EXPECTED}", 422) from None
    return [level * LIGHTEST / 255.0 for level in small.tobytes()]


def as_gray(image: Image.Image) -> Image.Image:
    """Return the image as 8-bit gray, laid on a dark ground."""
    if image.mode.startswith("I"):  # 16-bit gray, which a plain conversion would clip instead of scale
        return image.convert("I").point(lambda level: level * (1 / 257)).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image.convert("L")
