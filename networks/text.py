"""A small text encoder and the words it knows: prompts for the starter's latent model."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

PAD, START, END, UNKNOWN = range(4)
EXAMPLES = (  # for a sentence: what a prompt may ask for
    *("lake", "meadow", "flowers", "dunes", "snowfield", "mountains", "hills", "forest", "trees", "path", "cabin"),
    *("sun", "moon", "clouds", "sunset", "dawn", "night"),
)
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")


class Words:
    """A tokenizer of whole words and commas, with the interface of transformers' tokenizers.

    words: the known ones, in the order of their numbers, which start after SPECIAL. Others become UNKNOWN, and tell is
    called with a sentence that names them.
    """

    unk_token_id = UNKNOWN

    def __init__(self, words: Iterable[str], tell: Callable[[str], Any] = logging.warning) -> None:
        self.vocabulary = {word: i for i, word in enumerate((*SPECIAL, *words))}
        self.tell = tell

    @classmethod
    def from_pretrained(cls, _: Any, words: Iterable[str], tell: Callable[[str], Any] = logging.warning) -> Words:
        return cls(words, tell)

    def __call__(self, text: str) -> dict[str, list[int]]:
        words = split(text)
        unknown = [word for word in dict.fromkeys(words) if word not in self.vocabulary]
        if unknown:
            some = ", ".join(word for word in EXAMPLES if word in self.vocabulary)
            self.tell(f"The starter does not know: {', '.join(unknown)}. Words that it knows: {some}.")
        return {"input_ids": [START, *(self.vocabulary.get(word, UNKNOWN) for word in words), END]}

    def get_vocab(self) -> dict[str, int]:
        return self.vocabulary


def split(text: str) -> list[str]:
    """Lower-case words and commas. Full stops and semicolons count as commas; other characters separate words."""
    return re.findall(r"[^\W_]+|,", re.sub("[.;]", ",", text.lower()))


class Layer(nn.Module):
    """A pre-norm transformer layer: self-attention and two linear layers, each added to its input."""

    def __init__(self, width: int, heads: int, ops: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = ops.LayerNorm(width, **kw)
        self.qkv = ops.Linear(width, 3 * width, **kw)
        self.out = ops.Linear(width, width, **kw)
        self.norm2 = ops.LayerNorm(width, **kw)
        self.inner = ops.Linear(width, 4 * width, **kw)
        self.outer = ops.Linear(4 * width, width, **kw)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.outer(gelu(self.inner(self.norm2(x))))


class TextEncoder(nn.Module):
    """net(tokens [B,n]) or net(embeds=[B,n,width]) -> ([B,n,width], None), n up to `window`.

    Called like transformers' text models. An attention mask and other settings are ignored (the network learns what
    padding means), and only the last layer is available.
    """

    num_layers = 0

    def __init__(
        self,
        *,
        vocabulary: int,
        window: int,
        width: int,
        layers: int,
        heads: int,
        ops: Any = nn,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.embed = ops.Embedding(vocabulary, width, **kw)
        self.positions = ops.Embedding(window, width, **kw)
        self.layers = nn.ModuleList(Layer(width, heads, ops, kw) for _ in range(layers))
        self.norm = ops.LayerNorm(width, **kw)

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def forward(
        self, tokens: Tensor | None, mask: Tensor | None = None, embeds: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None]:
        x = self.embed(tokens) if embeds is None else embeds
        x = x + self.positions(torch.arange(x.shape[1], device=x.device)).to(x)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x), None


def padded(tokens: list[int], window: int) -> list[int]:
    """Tokens of Words as one window: too many are cut off before the end token, missing ones are padded."""
    kept = [*tokens[: window - 1], tokens[-1]] if len(tokens) > window else tokens
    return [*kept, *[PAD] * (window - len(kept))]
