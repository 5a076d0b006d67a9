"""An ordinary TorchServe handler for the text model: a sentence in, its embedding and number of tokens out."""

from __future__ import annotations

import json
import os
from typing import Any

import torch
from tokenizers import Tokenizer
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import PredictionException

MAX_TOKENS = 256  # what the model was trained to read; the rest of a longer text has no part in its embedding
MAX_CHARACTERS = 32_768  # split into tokens within a hundredth of a second; 256 tokens are some 1,500 characters
EXPECTED = 'send {"text": "a sentence"} as application/json, plain text, or a BYTES tensor `text`'


class TextHandler(BaseHandler):
    """Answers ``{"embedding": [384 numbers], "tokens": count}`` for each row."""

    def initialize(self, context: Any) -> None:
        """Load the model as any handler does, and the tokenizer beside it."""
        super().initialize(context)
        path = os.path.join(context.system_properties["model_dir"], "tokenizer.json")
        self.tokenizer = Tokenizer.from_file(path)
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()  # to the longest of the batch

    def preprocess(self, data: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch's token ids and which of them are tokens: both (rows, tokens of the longest row)."""
        encoded = self.tokenizer.encode_batch([row_text(row) for row in data])
        token_ids = torch.tensor([row.ids for row in encoded])
        is_token = torch.tensor([row.attention_mask for row in encoded], dtype=torch.bool)
        return token_ids.to(self.device), is_token.to(self.device)

    def inference(
        self, data: tuple[torch.Tensor, torch.Tensor], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embeddings, (rows, 384), and the number of tokens that each was made from, (rows,)."""
        token_ids, is_token = data
        with torch.inference_mode():
            return self.model(token_ids, is_token), is_token.sum(dim=1)

    def postprocess(self, data: tuple[torch.Tensor, torch.Tensor]) -> list[dict[str, Any]]:
        """Return one answer per row."""
        embeddings, token_counts = data
        answers = []
        for index, (embedding, count) in enumerate(zip(embeddings.tolist(), token_counts.tolist(), strict=True)):
            self.context.set_response_content_type(index, "application/json")
            self.context.set_response_header(index, "penstock-tokens", str(count))
            answers.append({"embedding": embedding, "tokens": count})
        return answers


def row_text(row: dict[str, Any]) -> str:
    """Return one row's text.

    Raises:
        PredictionException: the row holds no text; 422 with a sentence that says what to send.
    """
    value = next((row[name] for name in ("text", "data", "body") if name in row), None)
    if isinstance(value, list) and len(value) == 1:  # one element of a BYTES tensor
        value = decoded(value[0]) if isinstance(value[0], bytes) else None
    if isinstance(value, (bytes, bytearray)):
        value = from_json(value) if value.lstrip()[:1] == b"{" else decoded(value)
    if isinstance(value, dict):
        value = value.get("text")
    if not isinstance(value, str) or not value.strip():
        raise PredictionException(f"the row holds no text: {EXPECTED}", 422)
    if len(value) > MAX_CHARACTERS:
        raise PredictionException(
            f"the text has {len(value)} characters; send at most {MAX_CHARACTERS}, of which {MAX_TOKENS} tokens count",
            422,
        )
    return value


def decoded(body: bytes | bytearray) -> str:
    """Decode plain text."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise PredictionException(f"the text is not UTF-8: {EXPECTED}", 422) from None


def from_json(body: bytes | bytearray) -> Any:
    """Decode JSON that came without its content type, as ``curl -T sentence.json`` sends it."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PredictionException(f"the body is not JSON: {EXPECTED}", 422) from None
