"""The patch on a MODEL that corrects the cross-attention of prompts which carry regions.

The MODEL only has the mechanism. A CONDITIONING carries its own regions, so every other prompt on the same MODEL,
negative ones included, is unaffected, and batching is left to the host. One wrapper sees the prompts and notes what
each uuid has; another, around each call of the network, adds the corrections to the host's own attention. They come
after any `optimized_attention_override` and any replaced attention of other packs, in whatever order those were added.

The keys of transformer_options that are read here are the host's: uuids, cond_or_uncond, block, block_index and
activations_shape. tests/host/test_regions.py fails if one of them disappears.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import host
from ..noise import signal_and_noise
from ..run import keep, run_of
from .attention import PAINT_STRENGTH, paint, pull, time_share, word_maps
from .regions import EQUATION, WINDOW, Placed, Pull, Spot, Target, target

REGIONS = "sketch_regions"  # a Placed on a CONDITIONING; also the key of the wrappers
TOKENS = "sketch_tokens"  # the tokens of its prompt, as regions.tokens_of gives them
RECORD = "sketch_record"  # a Record that collects its maps
ROWS = "sketch_region_rows"  # in transformer_options: (positive or negative, uuid) -> _Row
OVERRIDE = "optimized_attention_override"


class Record:
    """Collects the maps of phrases over heads, layers and calls, for one picture. phrases: their token positions."""

    def __init__(self, phrases: Sequence[tuple[int, ...]]) -> None:
        self.phrases = phrases
        self.positions = tuple(sorted({place for phrase in phrases for place in phrase}))
        self.seen = False  # whether the network has been called with a prompt that carries this
        self._sums: dict[tuple[int, int], Tensor] = {}
        self._counts: dict[tuple[int, int], int] = {}

    def add(self, maps: Tensor, positions: Tensor, grid: tuple[int, int]) -> None:
        """maps [1, heads, N, P] of the tokens at `positions` [P]."""
        tokens = maps.mean((0, 1)).T  # [P, N]
        columns = [torch.isin(positions.cpu(), torch.tensor(phrase)).to(tokens.device) for phrase in self.phrases]
        heat = torch.stack([tokens[column].mean(0) for column in columns]).unflatten(1, grid)
        self._sums[grid] = self._sums.get(grid, 0) + heat
        self._counts[grid] = self._counts.get(grid, 0) + 1

    def mean(self) -> Tensor:
        """[phrases, h, w] on the finest grid seen: the mean over all layers, coarser ones enlarged bilinearly.

        ValueError: there were no maps.
        """
        if not self.seen:
            raise ValueError(
                "The model never used this conditioning's text: its timestep range contains none of the sampled "
                "levels, or another node replaced the text. Connect the conditioning from before that node, or raise "
                "levels."
            )
        if not self._sums:
            raise ValueError("No cross-attention was seen: another patch on this MODEL replaces it.")
        finest = max(self._sums)
        layers = [
            torch.nn.functional.interpolate(heat[None], finest, mode="bilinear")[0] for heat in self._sums.values()
        ]
        return torch.stack(layers).sum(0) / sum(self._counts.values())


class _Row(NamedTuple):
    """What one prompt needs in one step. force: kappa of the equation, or the gain of paint with words."""

    placed: Placed | None
    record: Record | None
    force: float
    spot: Spot
    length: int  # tokens of the prompt, before the host repeats it to match a longer one


def patch(model: Any, tell: Callable[[str], Any] = logging.warning) -> Any:
    """A clone of a MODEL, a UNet, that applies regions and records of any CONDITIONING. ValueError: it makes no images.

    tell(text) is called at the start of a run in which no prompt comes from Cross-Attention Region Map.
    """
    host.check_image_model(model)
    assert host.token_layout(model) is None, "transformers have joint.py"
    patched = model.clone()
    if host.wrap_prompts(patched, REGIONS, _note_prompts, _correct_network):
        keep(patched)
        host.wrap_sampling(patched, REGIONS, partial(say_if_unused, tell, (REGIONS, TOKENS, RECORD)))
    return patched


def say_if_unused(tell: Callable[[str], Any], keys: Sequence[str], execute: Any, guider: Any, *rest: Any) -> Any:
    """Around SAMPLER.sample: without this, a prompt node of another pack in between drops the regions in silence.

    keys: a prompt that has one of them carries regions.
    """
    if not any(key in prompt for prompt in host.prompts_of(guider) for key in keys):
        tell(
            "No prompt in this run carries regions, so they have no effect. Connect the conditioning of "
            "Cross-Attention Region Map to the sampler, without nodes that encode the prompt again."
        )
    return execute(guider, *rest)


def _note_prompts(execute, model: Any, conds: list, x: Tensor, timestep: Tensor, options: dict) -> Any:
    """Around calc_cond_batch: notes which of these prompts need something in this step."""
    asking = [
        (number, prompt)
        for number, prompts in enumerate(conds)
        for prompt in prompts or []
        if (REGIONS in prompt or RECORD in prompt) and _own_words(prompt)
    ]
    rows = {}
    for number, prompt in asking:
        placed, record = prompt.get(REGIONS), prompt.get(RECORD)
        force = force_at(placed.pull, model.model_sampling, float(timestep.max())) if placed is not None else None
        if force is None or (force == 0 and _neutral(placed)):
            placed = None
        if placed is not None or record is not None:
            area = prompt.get("area")
            spot = Spot((x.shape[-2], x.shape[-1]), None if area is None else tuple(area))
            rows[number, prompt["uuid"]] = _Row(placed, record, force or 0.0, spot, prompt["cross_attn"].shape[1])
    if rows:
        options = {**options, "transformer_options": {**options["transformer_options"], ROWS: rows}}
    return execute(model, conds, x, timestep, options)


def _own_words(prompt: dict[str, Any]) -> bool:
    """False for the copy with the other prompt's words that the host makes for an area that only one side has."""
    used, own = prompt["model_conds"]["c_crossattn"].cond, prompt["cross_attn"]
    return used is own or (used.shape == own.shape and torch.equal(used, own.to(used)))


def _neutral(placed: Placed | None) -> bool:
    """Whether these regions change nothing at kappa 0."""
    return placed is None or placed.pull.method != EQUATION or all(one.region.weight == 1 for one in placed.regions)


def force_at(wanted: Pull, sampling: Any, sigma: float) -> float | None:
    """kappa_t, or paint with words' gain w' log(1 + sigma); None outside of the window."""
    if wanted.schedule == WINDOW and not (
        sampling.percent_to_sigma(wanted.end) < sigma <= sampling.percent_to_sigma(wanted.start)
    ):
        return None
    family = host.sampling_family(sampling)
    if wanted.method == EQUATION:
        return wanted.kappa(time_share(family.sigmas, sigma))
    signal, noise = signal_and_noise(family, sigma)
    ratio = noise / max(signal * family.sigma_data, 1e-3)  # a flow's first level has no signal
    return PAINT_STRENGTH * wanted.strength * math.log1p(ratio)


def _correct_network(execute, x, timesteps=None, context=None, y=None, control=None, transformer_options=None, **rest):
    """Around UNetModel.forward: corrects the rows of this call that need it."""
    options = transformer_options or {}
    noted = options.get(ROWS, {})
    chunks = [
        noted.get((number, uuid))
        for number, uuid in zip(options.get("cond_or_uncond", ()), options.get("uuids", ()), strict=True)
    ]
    for row in chunks:
        if row is not None and row.record is not None:
            row.record.seen = True
    if any(chunks) and context is not None:
        options = _Call(chunks, x.shape[0] // len(chunks), context.shape[1], options).options
    return execute(x, timesteps, context, y, control, options, **rest)


class _Call:
    """One call of the network. chunks: one prompt each, `batch` rows long; tokens: the text tokens of every row.

    An attention counts as cross-attention if the block has announced it. The number of keys does not tell: at 448x704 a
    self-attention of SD1.5 has 77 keys too.
    """

    def __init__(self, chunks: list[_Row | None], batch: int, tokens: int, options: dict[str, Any]) -> None:
        self.chunks, self.batch, self.tokens = chunks, batch, tokens
        self.before = options.get(OVERRIDE)
        run = run_of({"transformer_options": options})
        self.prepared: dict[Any, Any] = run.prepared if run is not None else {}
        self.announced: Any = None
        patches, replaced = options.get("patches", {}), options.get("patches_replace", {})
        self.options = {
            **options,
            OVERRIDE: self.attend,
            "patches": {**patches, "attn2_patch": [*patches.get("attn2_patch", []), self.announce]},
            "patches_replace": {
                **replaced,
                "attn2": {block: self.beside(there) for block, there in replaced.get("attn2", {}).items()},
            },
        }

    def announce(self, n: Tensor, context: Tensor, value: Tensor, options: dict[str, Any]) -> tuple:
        """An attn2_patch that changes nothing but notes that the block's next attention is its cross-attention."""
        self.announced = _block(options)
        return n, context, value

    def attend(self, func: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any) -> Tensor:
        """The override: the previous override or the host's own attention, plus the corrections."""
        out = self._before(func, q, k, v, heads, *args, **kwargs)
        options = kwargs["transformer_options"]
        if self.announced is None or self.announced != _block(options):
            return out
        self.announced = None
        return self.corrected(out, q, k, v, heads, options)

    def _before(self, func: Callable, *args: Any, **kwargs: Any) -> Tensor:
        return func(*args, **kwargs) if self.before is None else self.before(func, *args, **kwargs)

    def beside(self, there: Callable) -> Callable:
        """Another pack's replacement of the host's attention (IPAdapter), plus the corrections, once."""

        def attention(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
            self.announced = None
            return self.corrected(there(q, k, v, options), q, k, v, options["n_heads"], options)

        return attention

    def corrected(self, out: Tensor, q: Tensor, k: Tensor, v: Tensor, heads: int, options: dict[str, Any]) -> Tensor:
        """`out` [rows, N, heads * d] with (A' - A) V added in the rows of prompts with regions."""
        grid = tuple(options["activations_shape"][-2:])
        if q.shape[:2] != (len(self.chunks) * self.batch, math.prod(grid)) or k.shape[1] < self.tokens:
            raise ValueError(
                "Another patch on this MODEL, such as attention couple, changes the rows, pixels or words of its "
                "cross-attention, so regions cannot be placed in it. Use one of the two."
            )
        whole = out
        for number, row in enumerate(self.chunks):
            if row is None:
                continue
            rows = slice(number * self.batch, (number + 1) * self.batch)
            aim = self._target(row, grid, q.device)
            if row.placed is None:
                maps = word_maps(q[rows], k[rows], heads, aim.positions)
            else:
                work = pull if row.placed.pull.method == EQUATION else paint
                change, maps = work(q[rows], k[rows], v[rows], heads, aim, row.force)
                whole = whole.clone() if whole is out else whole
                whole[rows] += change.to(out.dtype)
            if row.record is not None:
                row.record.add(maps, aim.positions, grid)
        return whole

    def _target(self, row: _Row, grid: tuple[int, int], device: torch.device) -> Target:
        """The row's Target on this grid, made once per run."""
        key = (REGIONS, row.placed, row.record, row.spot, grid, self.batch, self.tokens, device)
        if key not in self.prepared:
            also = row.record.positions if row.record is not None else ()
            repeats = self.tokens // row.length
            self.prepared[key] = target(
                row.placed, row.spot, grid, self.batch, also=also, repeats=repeats, length=row.length, device=device
            )
        return self.prepared[key]


def _block(options: dict[str, Any]) -> tuple:
    return options["block"], options["block_index"]
