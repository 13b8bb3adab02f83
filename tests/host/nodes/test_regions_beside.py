"""Words in painted regions beside other nodes: samplers, attention of other packs, guidance, ControlNets, hooks."""

from __future__ import annotations

import pytest
import torch

from helpers.controls import Control
from helpers.region_walks import BLOCKS, SHORT, by_hand, close, encoded, lake, latent, left, mapped, walk


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.regions")


def test_every_sampling_node_does_the_same(doors, model, clip, all_nodes, host_nodes):
    import comfy.samplers

    patched, positive = mapped(doors, model, clip, lake(doors))
    negative, start = encoded(clip, ""), {"samples": latent()}
    sampler = comfy.samplers.sampler_object("euler")
    with torch.inference_mode():
        (plain,) = host_nodes.common_ksampler(model, 5, 3, 2.0, "euler", "normal", positive, negative, start)
        (found,) = host_nodes.common_ksampler(patched, 5, 3, 2.0, "euler", "normal", positive, negative, start)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 3)
        custom = all_nodes["SamplerCustom"].execute(patched, True, 5, 2.0, positive, negative, sampler, sigmas, start)
        guider = all_nodes["CFGGuider"].execute(patched, positive, negative, 2.0).args[0]
        noise = all_nodes["RandomNoise"].execute(5).args[0]
        advanced = all_nodes["SamplerCustomAdvanced"].execute(noise, guider, sampler, sigmas, start)
    assert (found["samples"] - plain["samples"]).abs().max() > 1e-3
    assert torch.equal(custom.args[0]["samples"], found["samples"])
    assert torch.equal(advanced.args[0]["samples"], found["samples"])


@pytest.mark.parametrize("tells_options", [False, True], ids=["as IPAdapter", "with transformer_options"])
@pytest.mark.parametrize("comes", ["before", "after"])
def test_replaced_attention_is_kept_and_corrected_once(doors, model, clip, tells_options, comes):
    from comfy.ldm.modules.attention import optimized_attention

    def foreign(q, k, v, options):
        told = {"transformer_options": options} if tells_options else {}
        text = optimized_attention(q, k, v, options["n_heads"], **told)
        return text + 0.3 * optimized_attention(q, k[:, 3:5], v[:, 3:5].roll(1, -1), options["n_heads"], **told)

    def with_foreign(one):
        one = one.clone()
        for block in BLOCKS[3:20]:
            one.set_model_attn2_replace(foreign, *block)
        return one

    patched, positive = mapped(doors, with_foreign(model) if comes == "before" else model, clip, lake(doors))
    patched = with_foreign(patched) if comes == "after" else patched

    def base(q, k, v, options):
        replaced = options["block"] in BLOCKS[3:20]
        return foreign(q, k, v, options) if replaced else optimized_attention(q, k, v, options["n_heads"])

    reference = by_hand(model, {2: (left(), 1.0)}, kappa=lambda _: 0.7, base=base)
    negative = encoded(clip, "ugly")
    close(*(walk(m, positive, negative) for m in (patched, reference, with_foreign(model))))


def test_another_override_comes_first(doors, model, clip):
    calls = []

    def louder(func, q, k, v, *args, **kwargs):
        calls.append(kwargs["transformer_options"]["block"])
        return 1.1 * func(q, k, v, *args, **kwargs)

    shouting = model.clone()
    shouting.model_options["transformer_options"]["optimized_attention_override"] = louder
    patched, positive = mapped(doors, shouting, clip, lake(doors))
    negative = encoded(clip, "")
    plain = walk(shouting, positive, negative)
    count = len(calls)
    found = walk(patched, positive, negative)
    assert len(calls) == 2 * count, "every attention, once"
    assert (found - plain).abs().max() > 1e-3
    still, positive = mapped(doors, shouting, clip, lake(doors), strength=0.0)
    assert torch.equal(walk(still, positive, negative), plain)


def test_attention_couple_is_refused(doors, model, clip):
    def couple(n, context, value, options):
        return n.repeat(2, 1, 1), context.repeat(2, 1, 1), value.repeat(2, 1, 1)

    patched, positive = mapped(doors, model, clip, lake(doors))
    patched.set_model_attn2_patch(couple)
    patched.set_model_attn2_output_patch(lambda n, options: n[: len(n) // 2])
    with pytest.raises(ValueError, match="attention couple"):
        walk(patched, positive, positive)


@pytest.mark.parametrize("node", ["NAGuidance", "PerturbedAttentionGuidance"])
def test_stacked_with_cores_guidance(doors, model, clip, all_nodes, node):
    settings = {"NAGuidance": (5.0, 0.5, 1.5), "PerturbedAttentionGuidance": (3.0,)}[node]

    def guided(one):
        return all_nodes[node].execute(one, *settings).args[0]

    negative = encoded(clip, "ugly")
    for order in (0, 1):
        base = guided(model) if order == 0 else model
        patched, positive = mapped(doors, base, clip, lake(doors))
        still, same = mapped(doors, base, clip, lake(doors), strength=0.0)
        if order == 1:
            patched, still = guided(patched), guided(still)
        plain = walk(guided(model), encoded(clip, SHORT), negative)
        assert torch.equal(walk(still, same, negative), plain)
        found = walk(patched, positive, negative)
        assert torch.isfinite(found).all()
        assert (found - plain).abs().max() > 1e-3
    if node == "PerturbedAttentionGuidance":
        reference = guided(by_hand(model, {2: (left(), 1.0)}, kappa=lambda _: 0.7))
        close(found, walk(reference, positive, negative), plain)


class AddsToTheMiddle(Control):
    def __init__(self):
        super().__init__()
        self.options = []

    def get_control(self, x, t, cond, batched_number, transformer_options):
        self.options.append(transformer_options)
        return {"middle": [torch.full((1, 64, 1, 1), 0.1)], "input": [], "output": []}


def test_a_controlnet_beside_it(doors, model, clip):
    control = AddsToTheMiddle()
    patched, positive = mapped(doors, model, clip, lake(doors))

    negative = control.on(encoded(clip, ""))
    plain = walk(model, control.on(encoded(clip, SHORT)), negative)
    reference = by_hand(model, {2: (left(), 1.0)}, kappa=lambda _: 0.7)
    found, expected = (walk(m, control.on(positive), negative) for m in (patched, reference))
    assert control.options
    close(found, expected, plain)


def test_hooks_on_the_clip_keep_working(doors, model, clip):
    import comfy.hooks

    hooked = clip.clone()
    group = comfy.hooks.HookGroup()
    group.add(comfy.hooks.WeightHook())
    hooked.apply_hooks_to_conds = group
    _, positive = mapped(doors, model, hooked, lake(doors))
    assert positive[0][1]["hooks"] is group
    assert "sketch_regions" in positive[0][1]


def test_cancel_leaves_nothing_behind(doors, model, clip):
    import comfy.model_management
    import comfy.samplers

    patched, positive = mapped(doors, model, clip, lake(doors))
    plain, found = (walk(m, positive, positive) for m in (model, patched))
    stop = comfy.model_management.InterruptProcessingException
    raised = []

    def interrupted(n, options):
        if options["block"] == ("middle", 0):
            raised.append(1)
            raise stop
        return n

    broken = patched.clone()
    broken.set_model_attn2_output_patch(interrupted)
    with pytest.raises(stop):
        walk(broken, positive, positive)
    assert raised
    assert torch.equal(walk(patched, positive, positive), found)
    assert torch.equal(walk(model, positive, positive), plain)
