"""Painted regions with words (SKETCH_REGIONS), and the positions of those words in a prompt.

A region is a mask, a phrase and a weight. GradOP (Singh et al., CVPR 2023) ties words of the prompt to painted regions
through the cross-attention maps of the words' tokens; guidance/regions/attention.py has the equation.

Overlaps: different words may share pixels; each is pulled to its own mask. A word that several regions name is pulled
to all of them together: the largest of the masks at each pixel, the mean of the weights. Empty regions do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...pictures.fit import as_mask, pair_batches

SHOWN = 80  # characters of a phrase in a message
EQUATION, PAINT = "GradOP", "paint with words"
METHODS = (EQUATION, PAINT)
FALLING, CONSTANT, WINDOW = "t/T", "constant", "window"
SCHEDULES = (FALLING, CONSTANT, WINDOW)
JOINT = "sketch_joint_regions"  # an Apart on a CONDITIONING; also the key of the wrappers of joint.py


@dataclass(frozen=True, eq=False)
class Region:
    """mask: [B, H, W], 0 to 1, soft ones stay soft. phrase: words of the prompt. weight: of their attention maps."""

    mask: Tensor
    phrase: str
    weight: float = 1.0


Regions = tuple[Region, ...]
"""The value of a SKETCH_REGIONS socket. It never changes."""


@dataclass(frozen=True)
class Pull:
    """How regions act. strength: 0 to 1. start, end: fractions of the model's schedule, for the schedule WINDOW."""

    method: str = EQUATION
    strength: float = 1.0
    schedule: str = FALLING
    start: float = 0.0
    end: float = 0.5

    def kappa(self, time: float) -> float:
        """kappa_t of the equation; time: t/T, 1 at the model's noisiest level. Windows are kept by the caller."""
        return self.strength * (time if self.schedule == FALLING else 1.0)


class Named(NamedTuple):
    """A region and the positions of its words in the prompt, counted from 0 over all chunks."""

    region: Region
    positions: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Placed:
    """What a CONDITIONING carries: its regions, found in its own prompt, and how they act."""

    regions: tuple[Named, ...]
    pull: Pull

    @property
    def positions(self) -> tuple[int, ...]:
        """Every position that some region names, ascending."""
        return tuple(sorted({place for one in self.regions for place in one.positions}))


class Words(NamedTuple):
    """A region and its phrase as the CLIP encodes it alone: context [1, n, width] and what else the entry carries."""

    region: Region
    context: Tensor
    values: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Apart:
    """What a CONDITIONING for a transformer carries."""

    words: tuple[Words, ...]
    pull: Pull


@dataclass(frozen=True, eq=False)
class Looked:
    """Phrases whose attention on a transformer is looked at. words: each encoded by itself, its region all of the
    picture. record: what collects their maps, in this order."""

    words: tuple[Words, ...]
    record: Any


class Spot(NamedTuple):
    """The part of the picture that one call of the model paints. size: the whole LATENT's (height, width); area: its
    (height, width, top, left) of a ConditioningSetArea, or None for all of it."""

    size: tuple[int, int]
    area: tuple[int, int, int, int] | None = None


def painted(mask: Tensor, phrase: str, weight: float = 1.0, regions: Regions = ()) -> Regions:
    """`regions` and one more. mask: as as_mask takes it. ValueError: no words, or not a mask."""
    if not phrase.strip():
        raise ValueError("A region needs the words that it stands for. Write a phrase, such as: snowy mountain.")
    return (*regions, Region(as_mask(mask).clamp(0, 1), phrase.strip(), float(weight)))


def tokens_of(tokenized: dict[str, list[list[tuple]]]) -> tuple[Any, ...]:
    """The tokens of a prompt from clip.tokenize, all chunks joined. Several text encoders share their positions.

    A learned vector (textual inversion) is identified by its first numbers.
    """
    chunks = next(iter(tokenized.values()))
    return tuple(
        tuple(token[0].flatten()[:8].tolist()) if isinstance(token[0], Tensor) else token[0]
        for chunk in chunks
        for token in chunk
    )


def find(prompt: Sequence[Any], phrase: Sequence[Any], special: Iterable[Any]) -> tuple[int, ...]:
    """The positions in `prompt` of every occurrence of `phrase`; both as returned by tokens_of.

    Tokens in `special` (start, end, padding) are ignored on both sides, so a phrase may continue in the next chunk.
    """
    special = set(special)
    text = [(place, token) for place, token in enumerate(prompt) if token not in special]
    words = [token for token in phrase if token not in special]
    plain = [token for _, token in text]
    found: list[int] = []
    done = 0  # occurrences may overlap
    for first in range(len(text) - len(words) + 1 if words else 0):
        if plain[first] == words[0] and plain[first : first + len(words)] == words:
            found += [place for place, _ in text[max(first, done) : first + len(words)]]
            done = first + len(words)
    return tuple(found)


def shown(phrase: str) -> str:
    """A phrase in quotes, for a message."""
    return repr(phrase if len(phrase) <= SHOWN else f"{phrase[:SHOWN]}...")


class Reader(NamedTuple):
    """How a CLIP reads text. tokenize: clip.tokenize. unknown: tokens that stand for any word it does not know."""

    tokenize: Callable[[str], dict]
    unknown: frozenset[Any] = frozenset()

    def special(self) -> frozenset[Any]:
        """Start, end and padding."""
        return frozenset(tokens_of(self.tokenize("")))

    def words(self, phrase: str) -> tuple[Any, ...]:
        """The tokens of a phrase, special ones included. ValueError: it has no others, or unknown words.

        All unknown words are the same token, so a phrase with one would match other words.
        """
        tokens, special = tokens_of(self.tokenize(phrase)), self.special()
        if special.issuperset(tokens):
            raise ValueError(f"The CLIP knows no word of {shown(phrase)}. Use other words.")
        if not (self.unknown - special).isdisjoint(tokens):
            raise ValueError(f"The CLIP does not know every word of {shown(phrase)}. Use words that it knows.")
        return tokens


def place(prompt: str, regions: Regions, reader: Reader) -> tuple[str, dict, tuple[Named, ...]]:
    """The prompt with every region's words in it, its tokens, and the positions of the words.

    A phrase that the prompt lacks is appended after a comma. ValueError: a phrase that the CLIP does not know.
    """
    special = reader.special()
    phrases = [reader.words(region.phrase) for region in regions]
    tokens = reader.tokenize(prompt)
    for region, words in zip(regions, phrases, strict=True):
        if not find(tokens_of(tokens), words, special):
            prompt = f"{prompt.rstrip().rstrip(',')}, {region.phrase}" if prompt.strip() else region.phrase
            tokens = reader.tokenize(prompt)
    text = tokens_of(tokens)
    named = tuple(Named(region, find(text, words, special)) for region, words in zip(regions, phrases, strict=True))
    return prompt, tokens, named


def on_grid(mask: Tensor, spot: Spot, grid: tuple[int, int]) -> Tensor:
    """A mask [B, H, W] as coverage of the cells of a layer's grid [B, cells]. Cropped to the middle, never squashed."""
    height, width = mask.shape[1:]
    cut_height = min(height, max(1, round(width * spot.size[0] / spot.size[1])))
    cut_width = min(width, max(1, round(height * spot.size[1] / spot.size[0])))
    top, left = (height - cut_height) // 2, (width - cut_width) // 2
    middle = mask[:, None, top : top + cut_height, left : left + cut_width].float()
    if spot.area is not None:
        tall, wide, top, left = spot.area
        middle = F.interpolate(middle, spot.size, mode="area")[..., top : top + tall, left : left + wide]
    return F.interpolate(middle, grid, mode="area").flatten(1)


class Target(NamedTuple):
    """Where the maps of some tokens are moved to on one grid of N cells, for b pictures."""

    positions: Tensor  # [P], among the text tokens
    masks: Tensor  # [b, N, P], 0 to 1; a column of zeros leaves its map alone
    weights: Tensor  # [b, P], 1 where no region names the token


def target(
    placed: Placed | None,
    spot: Spot,
    grid: tuple[int, int],
    batch: int,
    *,
    also: Iterable[int] = (),
    repeats: int = 1,
    length: int = 0,
    device: torch.device | str = "cpu",
) -> Target:
    """The Target of a prompt's regions. also: more positions whose maps are wanted but not moved.

    repeats, length: the host repeats a short prompt of `length` tokens to match a longer one in the same batch.
    """
    named = placed.regions if placed is not None else ()
    cells = [
        pair_batches(on_grid(one.region.mask.to(device), spot, grid), batch, "region mask") for one in named
    ]  # of each region [b, N]
    filled = [mask.amax(1) > 0 for mask in cells]  # [b]
    places = sorted({*also, *(placed.positions if placed is not None else ())})
    masks = torch.zeros(batch, grid[0] * grid[1], len(places), device=device)
    weights = torch.ones(batch, len(places), device=device)
    for column, place in enumerate(places):
        naming = [number for number, one in enumerate(named) if place in one.positions]
        if naming:
            masks[..., column] = torch.stack([cells[number] for number in naming]).amax(0)
            present = torch.stack([filled[number] for number in naming]).float()  # [regions, b]
            given = torch.tensor([named[number].region.weight for number in naming], device=device)
            mean = (present * given[:, None]).sum(0) / present.sum(0).clamp_min(1)
            weights[:, column] = torch.where(present.sum(0) > 0, mean, weights[:, column])
    positions = torch.tensor(places, device=device, dtype=torch.long)
    every = torch.cat([positions + length * again for again in range(repeats)])
    return Target(every, masks.repeat(1, 1, repeats), weights.repeat(1, repeats))
