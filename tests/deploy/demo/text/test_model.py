"""The encoder with the real weights: what sentence-transformers says of them, and padding that changes nothing."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from deploy.demo.text.model import SentenceEncoder, from_checkpoint
from deploy.demo.text_archive import WEIGHTS, package_dir


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, torch.Tensor]:
    return load_file(package_dir() / WEIGHTS)


@pytest.fixture(scope="module")
def encoder(checkpoint: dict[str, torch.Tensor]) -> SentenceEncoder:
    encoder = SentenceEncoder()
    encoder.load_state_dict(checkpoint)
    return encoder.eval()


def embed(encoder: SentenceEncoder, *rows: list[int], width: int = 0) -> torch.Tensor:
    """Embed rows of token ids, padded to the longest or further."""
    width = max(width, *(len(row) for row in rows))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    is_token = torch.tensor([[index < len(row) for index in range(width)] for row in rows])
    with torch.inference_mode():
        embeddings: torch.Tensor = encoder(padded, is_token)
    return embeddings


def test_every_weight_of_the_encoder_comes_from_the_checkpoint(checkpoint: dict[str, torch.Tensor]) -> None:
    ours = from_checkpoint(checkpoint)
    assert set(ours) == set(SentenceEncoder().state_dict())
    unused = {name for name in checkpoint if name.startswith("pooler.")} | {"embeddings.position_ids"}
    used = sum(weight.numel() for weight in ours.values())
    assert used == sum(weight.numel() for name, weight in checkpoint.items() if name not in unused)


def test_its_own_weights_load_as_they_were_saved(encoder: SentenceEncoder) -> None:
    other = SentenceEncoder()
    other.load_state_dict(encoder.state_dict())
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])


def test_a_checkpoint_that_lacks_a_weight_is_refused(checkpoint: dict[str, torch.Tensor]) -> None:
    lacking = {name: weight for name, weight in checkpoint.items() if name != "encoder.layer.3.output.dense.bias"}
    with pytest.raises(KeyError, match=r"encoder\.layer\.3\.output\.dense\.bias"):
        SentenceEncoder().load_state_dict(lacking)


def test_an_embedding_has_the_length_one(encoder: SentenceEncoder) -> None:
    lengths = embed(encoder, [101, 7592, 102], [101, 102]).norm(dim=1)
    assert lengths.tolist() == pytest.approx([1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize("width", [8, 64, 256])
def test_padding_does_not_leak_into_the_embedding(encoder: SentenceEncoder, width: int) -> None:
    row = [101, 2023, 2003, 2019, 2742, 6251, 102]
    assert torch.allclose(embed(encoder, row), embed(encoder, row, width=width), atol=1e-5)


def test_what_stands_where_a_row_is_padded_does_not_matter(encoder: SentenceEncoder) -> None:
    is_token = torch.tensor([[True, True, True, False, False]])
    with torch.inference_mode():
        zeros = encoder(torch.tensor([[101, 7592, 102, 0, 0]]), is_token)
        words = encoder(torch.tensor([[101, 7592, 102, 2088, 3793]]), is_token)
    assert torch.allclose(zeros, words, atol=1e-6)
    assert not torch.allclose(zeros, embed(encoder, [101, 7592, 102, 2088, 3793]), atol=1e-2)


def test_the_order_of_words_matters(encoder: SentenceEncoder) -> None:
    one, other = embed(encoder, [101, 3899, 15424, 2158, 102], [101, 2158, 15424, 3899, 102])
    assert float(one @ other) < 0.99
