"""Regions on transformers beside ControlNets and LoRAs, and in half precision."""

from __future__ import annotations

import pytest
import torch

from helpers import methods, tiny
from helpers.controls import Control

FAMILIES = ("zimage", "qwen_image", "flux", "sd3", "anima")


class Noting(Control):
    """Tells the pixels something, and notes the words it is given."""

    def __init__(self, tokens, width):
        super().__init__()
        self.hint = torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(3))
        self.words = []

    def get_control(self, x, t, cond, batched_number, transformer_options):
        self.words.append(cond.get("crossattn_controlnet", cond["c_crossattn"]).clone())
        return {"input": [self.hint.to(x)], "output": [self.hint.to(x)]}


@pytest.mark.parametrize(("family", "width"), [("flux", 48), ("qwen_image", None), ("sd3", None)])
@torch.inference_mode()
def test_a_controlnet_reads_the_prompt_alone(room, family, width):
    """The host gives a ControlNet the words of its prompt. Those of a region, which only the region's pixels may see,
    are none of its business; it acts as it does without regions."""
    bench = methods.Bench(room, family)
    network = bench.model.get_model_object("diffusion_model")
    width = width or getattr(network, "inner_dim", None) or network.hidden_size
    grid = bench.samples.shape[-1] // 2
    control = Noting(grid * grid, width)

    model, prompt = methods.with_region(bench, methods.half(bench))
    negative = control.on(tiny.cond(family, seed=1))
    plain = bench.sample(positive=control.on(tiny.cond(family)), negative=negative)
    alone = [words.clone() for words in control.words]
    control.words.clear()
    both = bench.sample(model, positive=control.on(prompt), negative=negative)
    assert {tuple(words.shape[1:]) for words in control.words} == {tuple(words.shape[1:]) for words in alone}
    assert both.isfinite().all()
    assert not torch.allclose(both, plain, atol=1e-3), "the regions act"
    assert not torch.allclose(both, bench.sample(model, positive=prompt), atol=1e-3), "so does the ControlNet"
    faint, prompt = methods.with_region(bench, methods.half(bench), strength=0.0)
    assert torch.equal(bench.sample(faint, positive=control.on(prompt), negative=negative), plain)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_a_lora_beside_it(room, family):
    """Weights patched by the host are the same as weights that were always so."""
    bench = methods.Bench(room, family)
    generator = torch.Generator().manual_seed(2)
    changes = {
        name: 0.1 * torch.randn(weight.shape, generator=generator) * weight.std()
        for name, weight in bench.model.model.state_dict().items()
        if name.endswith(".weight") and weight.ndim == 2
    }
    plain, prompt = methods.with_region(bench, methods.half(bench))
    without = bench.sample(plain, positive=prompt)
    patched = plain.clone()
    assert len(patched.add_patches({name: ("diff", (change,)) for name, change in changes.items()}, 1.0)) > 3
    found = bench.sample(patched, positive=prompt)
    assert not torch.allclose(found, without, atol=1e-3)
    bench.model = tiny.model(family)
    for name, weight in bench.model.model.state_dict().items():
        if name in changes:
            weight += changes[name]
    baked, prompt = methods.with_region(bench, methods.half(bench))
    expected = bench.sample(baked, positive=prompt)
    assert torch.allclose(found, expected, atol=2e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_in_half_precision(room, family, dtype):
    """Regions add no more rounding than the model has without them, though the numbers of the bias are large."""
    bench = methods.Bench(room, family, batch=2, wide=True)
    masks = torch.cat([methods.half(bench), 0.4 * methods.half(bench)])  # a soft one, too

    def predictions():
        """With and without regions, of one call of the network."""
        model, prompt = methods.with_region(bench, masks)
        one = {"sigmas": torch.tensor([0.8, 0.4]), "cfg": 1.0}
        return bench.sample(model, positive=prompt, **one).float(), bench.sample(**one).float()

    exact = predictions()
    bench.model = tiny.model(family, dtype=dtype)
    found = predictions()
    assert found[0].isfinite().all()
    regions, plain = (float((one - other).square().mean().sqrt()) for one, other in zip(found, exact, strict=True))
    assert regions < 1.5 * plain
