"""The sentence encoder: six BERT layers of plain torch, mean pooling and unit length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

VOCABULARY_SIZE = 30_522
POSITION_COUNT = 512
WIDTH = 384
HEADS = 12
INNER_WIDTH = 1_536
LAYERS = 6
EPSILON = 1e-12

# Of one layer: ours, and the checkpoint's.
LAYER_NAMES = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
EMBEDDING_NAMES = {
    "words.weight": "embeddings.word_embeddings.weight",
    "positions.weight": "embeddings.position_embeddings.weight",
    "segments.weight": "embeddings.token_type_embeddings.weight",
    "norm.weight": "embeddings.LayerNorm.weight",
    "norm.bias": "embeddings.LayerNorm.bias",
}


class SentenceEncoder(nn.Module):
    """Turns sentences into unit vectors whose dot product says how near their meanings are.

    Shapes: token_ids (rows, tokens), INT64; is_token (rows, tokens), BOOL, False where a row is padded; embeddings
    (rows, 384), FP32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY_SIZE, WIDTH)
        self.positions = nn.Embedding(POSITION_COUNT, WIDTH)
        self.segments = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.layers = nn.ModuleList(_layer() for _ in range(LAYERS))

    def forward(self, token_ids: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """Return one vector per row; what stands where a row is padded has no part in it."""
        token_count = token_ids.shape[1]
        states = self.norm(self.words(token_ids) + self.positions.weight[:token_count] + self.segments.weight[0])
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=~is_token)
        total = states.masked_fill(~is_token.unsqueeze(-1), 0.0).sum(dim=1)
        return nn.functional.normalize(total / is_token.sum(dim=1, keepdim=True), dim=1)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take weights under our names, or under those of a checkpoint."""
        is_checkpoint = EMBEDDING_NAMES["words.weight"] in state_dict
        return super().load_state_dict(from_checkpoint(state_dict) if is_checkpoint else state_dict, strict, assign)


def _layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER_WIDTH, dropout=0.0, activation="gelu", layer_norm_eps=EPSILON, batch_first=True
    )


def from_checkpoint(checkpoint: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a BERT checkpoint's weights under our names; its pooler, which sentence embeddings do not use, is left."""
    state = {ours: checkpoint[theirs] for ours, theirs in EMBEDDING_NAMES.items()}
    for index in range(LAYERS):
        theirs, ours = f"encoder.layer.{index}.", f"layers.{index}."
        for kind in ("weight", "bias"):
            projections = [checkpoint[f"{theirs}attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            state[f"{ours}self_attn.in_proj_{kind}"] = torch.cat(projections)
            for to, origin in LAYER_NAMES.items():
                state[f"{ours}{to}.{kind}"] = checkpoint[f"{theirs}{origin}.{kind}"]
    return state
