"""Regions and a CLIP: prompts encoded together with their regions, and phrases found in a CONDITIONING."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ... import host
from .patch import REGIONS, TOKENS
from .regions import JOINT, Apart, Placed, Pull, Reader, Region, Regions, Words, find, place, shown, tokens_of

DEEPEST = 400  # brackets in brackets: each is a call of the host's parser, of which Python allows 1000
SAME, OTHER = 0.9, 1 / 3
"""Fraction of components on which two text embeddings agree: above SAME the same text, below OTHER a different one.
SDXL's smaller encoder supplies 3/8 of the components."""


def reader_of(clip: Any) -> Reader:
    """How a CLIP reads text. ValueError: there is no CLIP."""
    if clip is None:
        raise ValueError("Got no CLIP: the checkpoint has no text encoder. Load one with Load CLIP.")

    def tokenize(text: str) -> dict:
        check_text(text)
        return clip.tokenize(text)

    return Reader(tokenize, host.unknown_tokens(clip))


def check_text(text: str) -> None:
    """ValueError: a text that the host's tokenizers fail at: half a character (a lone surrogate, as a damaged emoji
    leaves it), or brackets nested more than DEEPEST deep."""
    if text.encode(errors="ignore").decode() != text:
        raise ValueError("The text contains half of a character, as of a damaged emoji. Type that place again.")
    depth = deepest = 0
    for sign in text.replace("\\(", "").replace("\\)", ""):
        depth = depth + 1 if sign == "(" else max(0, depth - 1) if sign == ")" else depth
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ValueError(f"The text has brackets nested {deepest} deep, {DEEPEST} at most. Remove some of them.")


def encode(clip: Any, prompt: str, given: Regions, pull: Pull) -> tuple[list, str]:
    """The prompt's CONDITIONING, which carries its regions, and a text about them for the node."""
    text, tokens, named = place(prompt, given, reader_of(clip))
    lines = [
        f"{one.region.phrase}: token {', '.join(map(str, one.positions))}"
        + ("" if one.region.mask.any() else ", but its mask is empty: no effect")
        for one in named
    ]
    if text != prompt:
        lines.append(f"The prompt lacked words of regions, so it is now: {text}")
    carried: dict[str, Any] = {TOKENS: tokens_of(tokens)}
    if named:
        carried[REGIONS] = Placed(named, pull)
    return clip.encode_from_tokens_scheduled(tokens, add_dict=carried), "\n".join(lines) or "no regions"


def encode_apart(clip: Any, prompt: str, given: Regions, pull: Pull) -> tuple[list, str]:
    """For a transformer: the prompt's CONDITIONING, which carries its regions, each with its phrase encoded by itself;
    and a text about them for the node. The prompt need not contain the phrases."""
    reader = reader_of(clip)
    words, lines = [], []
    for region in given:
        words.append(apart(clip, region))
        empty = "" if region.mask.any() else ", but its mask is empty: no effect"
        lines.append(f"{region.phrase}: {words[-1].context.shape[1]} tokens of its own{empty}")
    words = [one for one in words if one.region.mask.any() and one.region.weight > 0]
    carried: dict[str, Any] = {JOINT: Apart(tuple(words), pull)} if given else {}
    text = "\n".join(lines) or "no regions"
    return clip.encode_from_tokens_scheduled(reader.tokenize(prompt), add_dict=carried), text


def apart(clip: Any, region: Region) -> Words:
    """A region with its phrase encoded by itself."""
    reader = reader_of(clip)
    context, values = clip.encode_from_tokens_scheduled(reader.tokenize(region.phrase))[0]
    return Words(region, context[:, : _used(reader, region.phrase, context.shape[1])], values)


def _used(reader: Reader, phrase: str, count: int) -> int:
    """How many of a phrase's `count` text vectors are not padding: up to the end token, for the encoder whose tokens
    they are (of several, as on Flux); else all of them, because some encoders drop a frame of fixed words."""
    for chunks in reader.tokenize(phrase).values():
        tokens = tokens_of({"": chunks})
        if len(tokens) == count:
            last = max((place for place, token in enumerate(tokens) if token != tokens[-1]), default=count - 1)
            return min(last + 2, count)
    return count


def find_phrases(clip: Any, conditioning: list, prompt: str, phrases: list[str]) -> list[tuple[int, ...]]:
    """The positions of each phrase in the CONDITIONING, from the prompt's text, or from the tokens that it carries.

    ValueError: a prompt that has another length than the conditioning's or is clearly another text (see `is_other`),
    several prompts in one, or a phrase that is not in it or that the CLIP does not know.
    """
    reader = reader_of(clip)
    given = reader.tokenize(prompt) if prompt.strip() else None
    text = tokens_of(given) if given is not None else None
    held = {values.get(TOKENS, ()) if text is None else text for _, values in conditioning}
    counts = sorted({context.shape[1] for context, _ in conditioning})
    if len(held) > 1 or len(counts) > 1:
        raise ValueError("The conditioning combines several prompts. Connect one of them alone.")
    tokens = held.pop()
    if [len(tokens)] != counts:
        raise ValueError(
            f"The conditioning has {counts[0]} tokens, but its prompt has {len(tokens)}. Write the conditioning's own "
            "text into prompt, or connect the conditioning of Cross-Attention Region Map, which stores it."
        )
    if given is not None and is_other(clip, given, [context for context, _ in conditioning]):
        raise ValueError(
            "The conditioning, or a part of it, was not made from the text in prompt. Write its own text there, or "
            "leave prompt empty if it comes from Cross-Attention Region Map."
        )
    special = reader.special()
    places = [find(tokens, reader.words(phrase), special) for phrase in phrases]
    absent = [shown(phrase)[1:-1] for phrase, found in zip(phrases, places, strict=True) if not found]
    if absent:
        raise ValueError(f"The prompt does not contain: {', '.join(absent)}. Choose words that are in it.")
    return places


def is_other(clip: Any, tokens: dict[str, list[list[tuple]]], contexts: list[Tensor]) -> bool:
    """Whether one of a CONDITIONING's contexts [B, n, width] clearly belongs to another text than these n tokens, as
    returned by clip.tokenize.

    The last vector of a chunk depends on all of its words and has no weight, so it identifies the text; but a LoRA or
    clip skip changes it too. In a CLIP the first vector depends on no word: if it agrees, the encoder is the same. An
    embedding from another encoder is therefore accepted, and so is one that differs in only one of SDXL's two encoders.
    An encoder whose first vector depends on the words (the starter's) has no such settings, so there only the last one
    counts.
    """
    own, empty = (clip.encode_from_tokens(one)[:1].float().cpu() for one in (tokens, clip.tokenize("")))
    length = own.shape[1] // len(next(iter(tokens.values())))
    sees_words = agree(empty[:, :1], own[:, :1]) <= SAME
    for context in contexts:
        given = context[:1].float().cpu()
        if given.shape == own.shape and (sees_words or agree(given[:, ::length], own[:, ::length]) > SAME):
            ends = slice(length - 1, None, length)
            if agree(given[:, ends], own[:, ends]) < OTHER:
                return True
    return False


def agree(given: Tensor, own: Tensor) -> float:
    """The fraction of components that agree up to rounding, in the worst of the vectors: [1, vectors, width] each."""
    near = (given - own).abs() <= 0.01 * own.abs().median()
    return float(near.float().mean(-1).min())
