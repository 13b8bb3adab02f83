"""The patch on a transformer that keeps the words of each region with its pixels; the maths is in bias.py.

As on UNets (patch.py) the MODEL only has the mechanism and a CONDITIONING carries its own regions. In each step a
wrapper appends the words of the prompts that have regions, so those get longer and the host calls the network for them
apart; other prompts stay as they are, bit for bit. A second wrapper, around each call of the network, gives the host's
attention its bias through `optimized_attention_override`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import host
from ...pictures.fit import pair_batches
from ..run import keep, run_of
from .bias import NEVER, Span, cross_bias, joint_bias, text_bias, word_shares
from .patch import OVERRIDE, RECORD, Record, force_at, say_if_unused
from .regions import JOINT, Region, Spot, on_grid

ROWS = "sketch_joint_rows"  # in transformer_options: (positive or negative, uuid) -> _Row


class _Row(NamedTuple):
    """What one prompt needs in one step. forces: kappa_t w_r of each region. spans: of its regions' words, among the
    words alone; text: how many words it has in all, those that the network fills up with included. record: of the
    last of these regions, if they are looked at."""

    regions: tuple[Region, ...]
    forces: tuple[float, ...]
    spans: tuple[Span, ...]
    text: int
    spot: Spot
    record: Record | None


def patch(model: Any, tell: Callable[[str], Any] = logging.warning) -> Any:
    """A clone of a MODEL, a transformer, that applies the regions of any CONDITIONING. ValueError: an unsupported
    family. tell(text) is called at the start of a run in which no prompt carries regions for a transformer."""
    host.check_image_model(model)
    layout = host.token_layout(model)
    assert layout is not None, "UNets have patch.py"
    patched = model.clone()
    if host.wrap_prompts(patched, JOINT, partial(_note_prompts, layout), partial(_bias_model, layout), whole=True):
        keep(patched)
        host.wrap_sampling(patched, JOINT, partial(say_if_unused, tell, (JOINT, RECORD)))
    return patched


def _note_prompts(layout: Any, execute: Any, model: Any, conds: list, x: Tensor, sigma: Tensor, options: dict) -> Any:
    """Around calc_cond_batch: appends the words of the prompts that have regions in this step, and notes where."""
    rows: dict[Any, _Row] = {}
    level = float(sigma.max())
    run = run_of(options)
    prepared = run.prepared if run is not None else {}

    def noted(number: int, prompt: dict[str, Any]) -> dict[str, Any]:
        apart, looked = prompt.get(JOINT), prompt.get(RECORD)
        force = (apart is not None and force_at(apart.pull, model.model_sampling, level)) or 0.0
        asking = [one for one in (apart if force else None, looked) if one is not None and one.words]
        if not asking:
            return prompt
        area = prompt.get("area")
        spot = Spot((x.shape[-2], x.shape[-1]), None if area is None else tuple(area))
        shown = spot.size if spot.area is None else spot.area[:2]
        for one in asking:
            if one not in prepared:
                prepared[one] = [host.words_alone(model, word.context, word.values, x) for word in one.words]
        words = [word for one in asking for word in prepared[one]]
        more, spans, text = _placed(layout, prompt["model_conds"]["c_crossattn"].cond.shape[1], words, shown)
        regions = tuple(word.region for one in asking for word in one.words)
        forces = tuple(1.0 if one is looked else force * word.region.weight for one in asking for word in one.words)
        record = None if looked is None else looked.record
        rows[number, prompt["uuid"]] = _Row(regions, forces, spans, text, spot, record)
        controlled = prompt.get("control") is not None
        return {**prompt, "model_conds": host.with_more_words(prompt["model_conds"], more, controlled)}

    conds = [side and [noted(number, prompt) for prompt in side] for number, side in enumerate(conds)]
    if rows:
        options = {**options, "transformer_options": {**options["transformer_options"], ROWS: rows}}
    return execute(model, conds, x, sigma, options)


def _placed(
    layout: Any, own: int, words: Sequence[Tensor], size: Sequence[int]
) -> tuple[Tensor, tuple[Span, ...], int]:
    """The words to append [1, n, width], where each region's stand, and how many words there will be in all.

    As many words as image tokens could not be told from them, so then a few more follow that nobody sees.
    """
    spans, at = [], layout.before + own
    for one in words:
        spans.append(Span(at, at + one.shape[1]))
        at = spans[-1].end
    more = torch.cat(list(words), 1)
    if _filled(at, layout.multiple) == _image_tokens(layout, size):
        spans.append(Span(at, at + layout.multiple))
        more = torch.cat([more, more[:, :1].expand(-1, layout.multiple, -1)], 1)
        at = spans[-1].end
    return more, tuple(spans), _filled(at, layout.multiple)


def _filled(count: int, multiple: int) -> int:
    return ceil(count / multiple) * multiple


def _image_tokens(layout: Any, size: Sequence[int]) -> int:
    return _filled(ceil(size[0] / layout.patch) * ceil(size[1] / layout.patch), layout.multiple)


def _bias_model(
    layout: Any,
    execute: Any,
    x: Tensor,
    sigma: Tensor,
    concat: Any = None,
    context: Any = None,
    control: Any = None,
    transformer_options: Any = None,
    **rest: Any,
) -> Any:
    """Around apply_model: adds the bias to the attention of the rows of this call that need it."""
    options = transformer_options or {}
    noted = options.get(ROWS, {})
    chunks = [
        noted.get((number, uuid))
        for number, uuid in zip(options.get("cond_or_uncond", ()), options.get("uuids", ()), strict=True)
    ]
    if not any(chunks):
        return execute(x, sigma, concat, context, control, options, **rest)
    call = _Call(layout, chunks, x, options)
    made = execute(x, sigma, concat, context, control, call.options, **rest)
    if not call.found:
        raise ValueError(
            "Regions found no attention of words and pixels in this model. Reference pictures or another patch on the "
            "MODEL, such as attention couple, move its tokens. Use one of the two."
        )
    return made


class _Call:
    """One call of the model: its override of the host's attention, with one bias for each kind of attention."""

    def __init__(self, layout: Any, chunks: list[_Row | None], x: Tensor, options: dict[str, Any]) -> None:
        self.layout, self.chunks = layout, chunks
        self.batch = x.shape[0] // len(chunks)
        self.rows = x.shape[0]
        self.grid = tuple(ceil(side / layout.patch) for side in x.shape[-2:])
        self.image = _image_tokens(layout, x.shape[-2:])
        self.text = next(row.text for row in chunks if row is not None)
        self.before = options.get(OVERRIDE)
        self.biases: dict[tuple[int, int], Tensor] = {}
        self.found = False
        self.options = {**options, OVERRIDE: self.attend}

    def attend(self, func: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any) -> Tensor:
        """The override: the previous override or the host's own attention, with the bias added to its mask."""
        bias = self._bias(q, k, -2)
        if bias is not None:
            mask = args[0] if args else kwargs.get("mask")
            both = bias if mask is None else bias + _as_scores(mask, bias)
            self._look(q, k, heads, both, kwargs)
            if args:
                args = (both, *args[1:])
            else:
                kwargs["mask"] = both
        go = func if self.before is None else partial(self.before, func)
        return go(q, k, v, heads, *args, **kwargs)

    def _bias(self, q: Tensor, k: Tensor, tokens: int) -> Tensor | None:
        """[rows or 1, 1, queries, keys] for this attention; None: it has nothing to do with words."""
        sizes = q.shape[tokens], k.shape[tokens]
        kind = self._kind(*sizes)
        if kind is None or q.shape[0] != self.rows:
            return None
        if sizes not in self.biases:
            made = [self._of_row(row, kind, sizes, q.device) for row in self.chunks]
            if len(made) > 1:
                made = [one.expand(self.batch, -1, -1) for one in made]
            self.biases[sizes] = torch.cat(made)[:, None].to(q.dtype)
        self.found |= kind != "text"
        bias = self.biases[sizes]
        return bias if len(bias) == 1 or len(bias) == self.rows else bias.expand(self.rows, -1, -1, -1)

    def _kind(self, queries: int, keys: int) -> str | None:
        words = self.text - self.layout.before
        if queries == keys and queries in (words, self.text) and queries != self.image:
            return "text"
        if self.layout.order == host.CROSS:
            return "cross" if (queries, keys) == (self.image, self.text) else None
        return "joint" if queries == keys and queries >= self.text + self.image else None

    def _of_row(self, row: _Row | None, kind: str, sizes: tuple[int, int], device: torch.device) -> Tensor:
        queries, keys = sizes
        if row is None:
            return torch.zeros(1, queries, keys, device=device)
        masks = self._masks(row, device)
        forces = [*row.forces, *[0.0] * (len(row.spans) - len(row.regions))]  # of words that nobody sees
        spans = self._spans(row, kind, queries)
        if kind == "text":
            return text_bias(queries, spans, masks)
        if kind == "cross":
            return cross_bias(keys, spans, masks, forces)
        return joint_bias(queries, self._pixels(kind, queries), spans, masks, forces)

    def _spans(self, row: _Row, kind: str, queries: int) -> list[Span]:
        """Where a prompt's regions have their words among the keys of this kind of attention."""
        shift = 0
        if kind == "text" and queries == self.text - self.layout.before:
            shift = self.layout.before
        if kind == "joint" and self.layout.order == host.IMAGE_FIRST:
            shift = -self.image
        return [Span(one.first - shift, one.end - shift) for one in row.spans]

    def _pixels(self, kind: str, queries: int) -> Span:
        """Where the image's tokens stand among the queries."""
        first = {host.TEXT_FIRST: self.text, host.IMAGE_FIRST: 0, host.IMAGE_LAST: queries - self.image}
        begin = 0 if kind == "cross" else first[self.layout.order]
        return Span(begin, begin + self.image)

    def _look(self, q: Tensor, k: Tensor, heads: int, bias: Tensor, told: dict[str, Any]) -> None:
        """Adds this attention's maps to the records of the prompts that have one."""
        kind = self._kind(q.shape[-2], k.shape[-2])
        if kind is None or kind == "text":
            return
        for number, row in enumerate(self.chunks):
            if row is None or row.record is None:
                continue
            rows = slice(number * self.batch, (number + 1) * self.batch)
            apart, keys = q[rows], k[rows]
            if not told.get("skip_reshape"):
                wide = apart.shape[-1] // heads
                apart, keys = (one.unflatten(-1, (-1, wide)).transpose(1, 2) for one in (apart, keys))
            count = len(row.record.phrases)
            last = len(row.regions)
            words = self._spans(row, kind, q.shape[-2])[last - count : last]
            pixels, cells = self._pixels(kind, q.shape[-2]), self.grid[0] * self.grid[1]
            seen = Span(pixels.first, pixels.first + cells)  # without what the network fills up with
            own = bias if len(bias) == 1 else bias[rows]
            maps = word_shares(apart, keys, seen, words, own, told.get("scale"))
            row.record.seen = True
            row.record.add(maps, torch.arange(count), self.grid)

    def _masks(self, row: _Row, device: torch.device) -> Tensor:
        """[spans, batch or 1, image tokens]: 0 for tokens that the network fills up with."""
        batch = max(len(one.mask) for one in row.regions)
        batch = self.batch if batch > 1 else 1
        masks = torch.zeros(len(row.spans), batch, self.image, device=device)
        for number, one in enumerate(row.regions):
            cells = on_grid(one.mask.to(device), row.spot, self.grid)
            masks[number, :, : cells.shape[1]] = pair_batches(cells, batch, "region mask")
        return masks


def _as_scores(mask: Tensor, like: Tensor) -> Tensor:
    """A model's own mask, of True and False or added to scores, in the shape [b, 1, queries or 1, keys]."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill_(~mask, NEVER)
    while mask.ndim < 4:
        mask = mask[None] if mask.ndim == 2 else mask.unsqueeze(1)
    return mask.to(like).clamp_min(NEVER)
