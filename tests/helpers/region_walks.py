"""What the tests of regions with words walk with, and an explicit second implementation."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from helpers import tiny

SIGMAS = torch.tensor([9.0, 3.0, 1.0, 0.0])
SHORT = "a lake and a tree"  # lake is token 2, tree token 5
BLOCKS = [("input", i) for i in range(12)] + [("middle", 0)] + [("output", i) for i in range(12)]


def left(height=16, width=16, share=0.5):
    mask = torch.zeros(1, height, width)
    mask[:, :, : round(width * share)] = 1
    return mask


def lake(doors, mask=None, weight=1.0, phrase="lake"):
    return doors.SketchPaintRegion.execute(left() if mask is None else mask, phrase, weight).args[0]


def mapped(doors, model, clip, regions, prompt=SHORT, **settings):
    """(MODEL, CONDITIONING) of CrossAttnRegionMap. Defaults here: constant, strength .7, so that something is seen."""
    wanted = {"strength": 0.7, "schedule": "constant", "start": 0.0, "end": 0.5, "method": "GradOP", **settings}
    return doors.CrossAttnRegionMap.execute(model, clip, prompt, regions, **wanted).args


def encoded(clip, prompt):
    return clip.encode_from_tokens_scheduled(clip.tokenize(prompt))


def latent(height=8, width=8, batch=1):
    return tiny.latent(height=height, width=width, batch=batch)["samples"]


@torch.inference_mode()
def walk(model, positive, negative, **options):
    options.setdefault("cfg", 3.0)
    start = options.pop("latent", None)
    start = latent() if start is None else start
    return tiny.sample(model, options.pop("sigmas", SIGMAS), start, positive=positive, negative=negative, **options)


# --- an explicit second implementation --------------------------------------------------------------------------------


def share_of_time(sigma, table):
    return (int((table - sigma).abs().argmin()) + 1) / len(table)


def by_hand(model, words, *, kappa, who=0, base=None, tokens=77, only=None):
    """A clone whose every cross-attention is written out in float64. words: {token: (mask [1, H, W], w)}; kappa: of a
    sigma; who: 0 positive, 1 negative prompts; base(q, k, v, options): other attention that the correction is added to.
    """

    def attention(q, k, v, options):
        heads = options["n_heads"]
        q2, k2, v2 = (x.double().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        maps = (q2 @ k2.transpose(-1, -2) / q2.shape[-1] ** 0.5).softmax(-1)
        changed = maps.clone()
        grid = options["activations_shape"][2:]
        sides = options["cond_or_uncond"]
        batch = len(q) // len(sides)
        power = kappa(float(options["sigmas"][0]))
        for chunk, side in enumerate(sides):
            if side != who:
                continue
            rows = slice(chunk * batch, (chunk + 1) * batch)
            for token, (mask, weight) in words.items():
                cells = F.adaptive_avg_pool2d(mask[:, None].double(), grid).flatten(1)[:, None]
                for copy in range(token, k.shape[1], tokens):
                    old = maps[rows, ..., copy]
                    inside = cells / cells.norm(dim=-1, keepdim=True)
                    pulled = weight * ((1 - power) * old + power * old.norm(dim=-1, keepdim=True) * inside)
                    changed[rows, ..., copy] = pulled
        plain, pulled = ((one @ v2).transpose(1, 2).flatten(2) for one in (maps, changed))
        start = plain if base is None else base(q, k, v, options).double()
        return (start + pulled - plain).to(q.dtype)

    patched = model.clone()
    for block in BLOCKS:
        patched.set_model_attn2_replace(attention, *block)
    return patched


def close(found, expected, plain):
    """As near to each other as float32 keeps a walk of a few steps, and far from the plain one."""
    moved = (expected - plain).abs().max()
    assert moved > 1e-3
    assert (found - expected).abs().max() < 0.02 * moved
