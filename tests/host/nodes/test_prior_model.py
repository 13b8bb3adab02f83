"""The pixel prior is a real member of the host: its samplers, latents, VAE, conditioning, patches, hooks and memory."""

from __future__ import annotations

import ast
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers import tiny
from helpers.golden_files import load_file
from runtime import inprocess

HINTS = {"plain": (0, 2, True), "classcond": (16, 4, False), "learnsigma": (32, 4, False)}


@pytest.fixture(scope="module")
def host(pack, room):
    return room("host")


@pytest.fixture(scope="module")
def make(pack, room, golden):
    """make(name, dtype) -> a MODEL from recorded tiny weights."""
    host, networks = room("host"), room("networks")

    def make(name="learnsigma", dtype=torch.float32):
        weights = load_file(golden / f"adm/weights_adm_{name}.safetensors")
        channels, heads, order = HINTS[name]
        hints = {"num_head_channels": channels, "num_heads": heads, "use_new_attention_order": order}
        settings = host.pixel_settings(weights, dtype)

        def build(disable_dynamic=False):
            network = networks.build(weights, **hints, **settings)
            return host.pixel_model(network, reload=(build, ()), disable_dynamic=disable_dynamic)

        return build()

    return make


@pytest.fixture(scope="module")
def model(make):
    return make()


@pytest.fixture(scope="module")
def label(pack, room):
    return lambda class_id=-1: room("nodes.priors").SketchPriorLabel.execute(class_id).result[0]


def picture(batch=1, height=16, width=16, seed=0):
    """A LATENT of a smooth picture in [-1, 1]."""
    rough = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return {"samples": torch.nn.functional.interpolate(rough, (height, width), mode="bilinear")}


def ksampler(
    host_nodes, model, label, latent=None, *, sampler="euler", scheduler="normal", steps=3, cfg=1.0, **options
):
    """The stock KSampler node, run as the server runs it."""
    positive, negative = options.get("positive") or label(), options.get("negative") or label()
    with torch.inference_mode():
        out = host_nodes.KSampler().sample(
            model,
            0,
            steps,
            cfg,
            sampler,
            scheduler,
            positive,
            negative,
            latent or picture(),
            options.get("denoise", 1.0),
        )
    return out[0]["samples"]


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_native_levels(model, golden):
    """The host's table is the published one: sigma_i = sqrt((1 - abar_i) / abar_i)."""
    table = load_file(golden / "sdedit/schedule.safetensors")
    key = next(name for name in table if "abar" in name or "cumprod" in name)
    abar = table[key].double().flatten()[-1000:]
    sigmas = model.get_model_object("model_sampling").sigmas.double()
    assert sigmas.shape == (1000,)
    assert ((sigmas - ((1 - abar) / abar).sqrt()) / sigmas).abs().max() < 1e-4


@pytest.mark.parametrize("name", HINTS)
def test_denoised_is_the_published_one(make, golden, name):
    """x0 = x - sigma * eps at recorded inputs, with the native whole-number times; channels 3 to 5 are dropped."""
    model, recorded = make(name), load_file(golden / f"adm/forward_adm_{name}.safetensors")
    sigma = model.get_model_object("model_sampling").sigmas[recorded["t"]]
    wide = sigma.view(-1, 1, 1, 1)
    x = recorded["x"] * (1 + wide**2).sqrt()  # what the host scales back to the network's input
    extra = {"y": recorded["y"]} if name == "classcond" else {}
    denoised = model.model.apply_model(x, sigma, **extra)
    assert ((denoised - (x - wide * recorded["out"][:, :3])) / wide).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights(host_nodes, make, label, dtype):
    """On a machine without fast halves the host casts each layer to float32: the same picture but for rounding."""
    model = make(dtype=dtype)
    assert model.model.get_dtype() == dtype
    assert {p.dtype for p in model.model.diffusion_model.parameters()} == {dtype}
    wanted = ksampler(host_nodes, make(), label, denoise=0.4)
    error = (ksampler(host_nodes, model, label, denoise=0.4) - wanted).std() / wanted.std()
    assert error < (0.01 if dtype == torch.float16 else 0.08)


# --- samplers, sizes, latents -----------------------------------------------------------------------------------------


def stock_samplers():
    """The stock samplers' names, read from the host's source: tests are collected before the host may be imported."""
    host = inprocess.find_host()
    if host is None:
        return []
    source = (host / "comfy" / "samplers.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "KSAMPLER_NAMES":
            return [*ast.literal_eval(node.value), "ddim", "uni_pc", "uni_pc_bh2"]
    return []


SAMPLERS = stock_samplers()
SCHEDULERS = ["simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_stock_sampler(host_nodes, model, label, sampler):
    import comfy.samplers

    assert set(SAMPLERS) == set(comfy.samplers.SAMPLER_NAMES), "test every sampler this host has"
    scheduler = SCHEDULERS[SAMPLERS.index(sampler) % len(SCHEDULERS)]
    out = ksampler(host_nodes, model, label, sampler=sampler, scheduler=scheduler, denoise=0.5)
    assert out.shape == (1, 3, 16, 16)
    assert torch.isfinite(out).all()
    assert out.std() > 1e-3


def test_every_stock_scheduler(host_nodes, model, label):
    import comfy.samplers

    for scheduler in comfy.samplers.SCHEDULER_NAMES:
        out = ksampler(host_nodes, model, label, scheduler=scheduler, steps=2)
        assert torch.isfinite(out).all(), scheduler


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 16), (24, 40), (17, 31)])
def test_batch_and_size(host_nodes, model, label, batch, size):
    out = ksampler(host_nodes, model, label, picture(batch, *size), steps=2, denoise=0.5)
    assert out.shape == (batch, 3, *size)
    assert torch.isfinite(out).all()
    if out[0].numel() % 16 == 0:  # else torch draws other noise for a longer batch
        single = {"samples": picture(batch, *size)["samples"][:1]}
        single = ksampler(host_nodes, model, label, single, steps=2, denoise=0.5)
        assert (out[:1] - single).abs().max() < 1e-3, "batch members must not see each other"


def test_empty_latent_image(host_nodes, model, label):
    """The stock Empty Latent Image asks for pixels and gets them."""
    empty = host_nodes.EmptyLatentImage().generate(40, 24, 2)[0]
    assert ksampler(host_nodes, model, label, empty, steps=2).shape == (2, 3, 24, 40)


def test_same_seed_same_picture(host_nodes, model, label):
    first, second = (ksampler(host_nodes, model, label, sampler="ddpm", denoise=0.5) for _ in range(2))
    assert torch.equal(first, second)


def test_mask_keeps_pixels(host_nodes, model, label):
    latent = picture(1, 16, 24)
    mask = torch.zeros(1, 16, 24)
    mask[..., 12:] = 1
    out = ksampler(host_nodes, model, label, {**latent, "noise_mask": mask}, denoise=0.5)
    assert (out - latent["samples"])[..., :12].abs().max() < 1e-4
    assert (out - latent["samples"])[..., 12:].abs().max() > 0.05


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (1, 1)])
def test_vae_round_trip(host, host_nodes, size):
    """8-bit pictures survive encode and decode exactly, at any size; the latent is left alone."""
    vae = host.pixel_vae()
    levels = torch.randint(0, 256, (3, *size, 3), generator=torch.Generator().manual_seed(0))
    image = levels.float() / 255
    latent = host_nodes.VAEEncode().encode(vae, image)[0]
    assert latent["samples"].shape == (3, 3, *size)
    assert latent["samples"].dtype == torch.float32
    assert (latent["samples"] - (image.movedim(-1, 1) * 2 - 1)).abs().max() < 1e-6
    before = latent["samples"].clone()
    back = host_nodes.VAEDecode().decode(vae, latent)[0]
    assert torch.equal((back * 255).round().long(), levels)
    assert torch.equal(latent["samples"], before)


def test_preview_is_the_picture(model):
    """Latent previews show the very pixels."""
    import latent_preview

    factors = model.get_model_object("latent_format").latent_rgb_factors
    latent = picture(2, 8, 12)["samples"]
    shown = latent_preview.Latent2RGBPreviewer(factors).decode_latent_to_preview(latent)
    wanted = ((latent[0] + 1) * 127.5).movedim(0, -1)
    assert (torch.tensor(list(shown.getdata())).view(8, 12, 3) - wanted).abs().max() <= 1


# --- conditioning -----------------------------------------------------------------------------------------------------


def test_class_label_reaches_the_network(host_nodes, make, label):
    model = make("classcond")
    pictures = [
        ksampler(host_nodes, model, label, positive=label(i), negative=label(i), denoise=0.5) for i in (0, 4, 0)
    ]
    assert torch.equal(pictures[0], pictures[2])
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3


def test_classifier_free_guidance_batches_labels(host_nodes, make, label):
    """At cfg 3, cond and uncond run as one batch with a label each; batch 2."""
    model = make("classcond")
    out = ksampler(host_nodes, model, label, picture(2), cfg=3.0, positive=label(1), negative=label(2), denoise=0.3)
    one = ksampler(host_nodes, model, label, picture(2), cfg=3.0, positive=label(1), negative=label(1), denoise=0.3)
    assert torch.isfinite(out).all()
    assert (out - one).abs().max() > 1e-3


WRONG_LABELS = {
    (
        "classcond",
        -1,
    ): "This pixel prior paints one of 5 classes. Connect Pixel Prior Label with a class_id of 0 to 4 to "
    "both positive and negative.",
    ("classcond", 5): "Class 5 does not exist in this pixel prior. Choose a class_id of 0 to 4.",
    ("plain", 3): "This pixel prior has no classes, got class 3. Set class_id of Pixel Prior Label to -1.",
}


@pytest.mark.parametrize(("name", "class_id"), WRONG_LABELS)
def test_wrong_label(host_nodes, make, label, name, class_id):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        ksampler(host_nodes, make(name), label, positive=label(class_id), negative=label(class_id))
    assert str(caught.value) == WRONG_LABELS[name, class_id]


def test_text_conditioning_is_not_listened_to(host_nodes, model, label):
    wanted = ksampler(host_nodes, model, label, denoise=0.5)
    assert torch.equal(
        ksampler(host_nodes, model, label, positive=tiny.cond(), negative=tiny.cond(seed=1), denoise=0.5), wanted
    )


def test_conditioning_nodes_work_on_a_label(host_nodes, make, label):
    """Zero Out, Combine and Set Timestep Range, as graphs use them."""
    zeroed = host_nodes.ConditioningZeroOut().zero_out(label(2))[0]
    combined = host_nodes.ConditioningCombine().combine(label(1), label(2))[0]
    ranged = host_nodes.ConditioningSetTimestepRange().set_range(label(3), 0.0, 1.0)[0]
    model = make("classcond")
    for conditioning in (zeroed, combined, ranged):
        out = ksampler(host_nodes, model, label, positive=conditioning, negative=label(0), cfg=2.0, denoise=0.4)
        assert torch.isfinite(out).all()


# --- patches, copies, hooks, memory -----------------------------------------------------------------------------------


def test_a_patched_clone_leaves_the_model_alone(host_nodes, model, label):
    wanted = ksampler(host_nodes, model, label, denoise=0.5)
    clone = model.clone()
    clone.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * 0.9)
    assert not torch.allclose(ksampler(host_nodes, clone, label, denoise=0.5), wanted)
    assert torch.equal(ksampler(host_nodes, model, label, denoise=0.5), wanted)


@pytest.mark.parametrize(
    ("node", "settings"),
    [
        ("PerturbedAttentionGuidance", {"scale": 3.0}),
        ("NAGuidance", {"nag_scale": 5.0, "nag_alpha": 0.5, "nag_tau": 1.5}),
    ],
)
def test_cores_guidance_nodes_stack(all_nodes, host_nodes, model, label, node, settings):
    """They find no attention of theirs to change in a pixel prior, and must neither break it nor change the picture."""
    patched = all_nodes[node].execute(model, **settings)
    patched = getattr(patched, "result", patched)[0]
    wanted = ksampler(host_nodes, model, label, denoise=0.5, cfg=2.0)
    assert (ksampler(host_nodes, patched, label, denoise=0.5, cfg=2.0) - wanted).abs().max() < 1e-4


def test_deep_copies_and_weight_patches(host_nodes, make, label):
    """The loader's factory makes second copies; a weight patch on one is not seen by the other, and is taken back."""
    model = make()
    wanted = ksampler(host_nodes, model, label, denoise=0.5)
    copy = model.clone(force_deepcopy=True)
    assert copy.model is not model.model
    key = "diffusion_model.network.out.2.weight"
    assert copy.add_patches({key: ("diff", (torch.ones(6, 32, 3, 3) * 0.05,))}) == [key]
    assert (ksampler(host_nodes, copy, label, denoise=0.5) - wanted).abs().max() > 1e-3
    assert torch.equal(ksampler(host_nodes, model, label, denoise=0.5), wanted)
    copy.unpatch_model()
    plain = model.clone(force_deepcopy=True)
    assert torch.equal(ksampler(host_nodes, plain, label, denoise=0.5), wanted)


def test_hooks(host_nodes, make, label):
    """A CONDITIONING with a weight hook at strength 0 changes nothing, at strength 1 the weights of that prompt."""
    import comfy.hooks

    model = make()
    key = "diffusion_model.network.out.2.weight"
    other = {key: model.model.state_dict()[key] * 1.5}
    wanted = ksampler(host_nodes, model, label, denoise=0.5)
    pictures = {}
    for strength in (0.0, 1.0):
        hooks = comfy.hooks.create_hook_model_as_lora(other, None, strength, 0.0)
        positive = comfy.hooks.set_hooks_for_conditioning(label(), hooks)
        pictures[strength] = ksampler(host_nodes, model, label, positive=positive, denoise=0.5)
    assert (pictures[0.0] - wanted).abs().max() < 1e-4
    assert (pictures[1.0] - wanted).abs().max() > 1e-3
    assert torch.equal(ksampler(host_nodes, model, label, denoise=0.5), wanted), "hooks must leave nothing behind"


def test_every_layer_with_weights_can_be_offloaded(make):
    """A layer that the host cannot cast on the fly would stay on the CPU while its input is on the GPU."""
    for name in HINTS:
        for path, module in make(name).model.diffusion_model.named_modules():
            if list(module.parameters(recurse=False)):
                assert hasattr(module, "comfy_cast_weights"), path


def test_partial_load(host_nodes, make, label):
    """Loaded with no room for any weight, every layer is cast on the fly and the picture is the same."""
    import comfy.model_management

    model = make("classcond")
    wanted = ksampler(host_nodes, model, label, positive=label(1), negative=label(1), denoise=0.5)
    comfy.model_management.unload_all_models()
    model.patch_model(torch.device("cpu"), lowvram_model_memory=1)
    casting = [m for m in model.model.diffusion_model.modules() if getattr(m, "comfy_cast_weights", False)]
    assert len(casting) > 20
    x, sigma = picture()["samples"], torch.tensor([1.0])
    cast = model.model.apply_model(x, sigma, y=torch.tensor([1]))
    model.unpatch_model(torch.device("cpu"))
    assert torch.isfinite(cast).all()
    assert torch.equal(model.model.apply_model(x, sigma, y=torch.tensor([1])), cast)
    assert torch.equal(ksampler(host_nodes, model, label, positive=label(1), negative=label(1), denoise=0.5), wanted)


def peak_bytes(run) -> int:
    """Most bytes that tensors made inside run() held at one time (CPU allocator's events)."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    profiler: Any = profile.profiler
    events = [e for e in profiler.kineto_results.events() if e.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


@pytest.mark.parametrize("side", [32, 96])
def test_memory_estimate(make, side):
    """The host reserves what a call needs: never less, and not many times more."""
    model = make("plain").model
    x, sigma = torch.zeros(2, 3, side, side), torch.full((2,), 1.0)
    with torch.no_grad():
        used = peak_bytes(lambda: model.apply_model(x, sigma))
    claimed = model.memory_required([2, 3, side, side])
    assert used <= claimed <= 4 * used


def test_noise_families(host, host_nodes):
    """Every family of the tiny models is recognised, by what its samplers do."""
    kinds = {"sd15": "discrete", "sd15_v": "discrete", "sdxl": "discrete", "sdxl_v": "discrete"}
    kinds |= {"edm": "edm", "edm_v": "edm", "sd3": "flow", "flux": "flow", "qwen_image": "flow", "hidream_o1": "flow"}
    kinds |= {"cosmos_predict2": "edm", "pixart": "discrete"}
    for name, kind in kinds.items():
        model = tiny.model(name)
        family = host.noise_family(model)
        assert family.kind == kind, name
        assert family.sigmas.dtype == torch.float32
        assert (family.sigmas.diff() > 0).all(), name
        sampling = model.get_model_object("model_sampling")
        latent, noise = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 3.0)
        sigma = family.sigmas[len(family.sigmas) // 2]
        noised = sampling.noise_scaling(sigma, noise.clone(), latent)
        assert family.noise_scale == (8.0 if name == "hidream_o1" else 1.0)
        loud = family.noise_scale * noise
        wanted = (1 - sigma) * latent + sigma * loud if kind == "flow" else latent + sigma * loud
        assert torch.allclose(noised, wanted), name


def test_noise_family_of_a_pixel_prior(host, model):
    family = host.noise_family(model)
    assert (family.kind, family.sigma_data, len(family.sigmas)) == ("discrete", 1.0, 1000)


def test_sampling_patches_are_seen_and_foreign_families_refused(host, all_nodes, model):
    """Core's ModelSampling nodes patch the MODEL; the patched family counts."""
    import comfy.model_sampling as known

    edm = all_nodes["ModelSamplingContinuousEDM"]().patch(model, "edm", 80.0, 0.002)[0]
    assert host.noise_family(edm).kind == "edm"
    assert host.noise_family(model).kind == "discrete"
    lcm = all_nodes["ModelSamplingDiscrete"]().patch(tiny.model("sd15"), "lcm", False)[0]
    assert host.noise_family(lcm).kind == "discrete"
    # a later host's: to image from image at a velocity, a flow by name only
    velocity = type("IMG_TO_IMG_VELOCITY", (known.CONST,), {"calculate_input": lambda self, sigma, noise: noise})
    scaled = type("SCALED", (known.V_PREDICTION,), {"noise_scaling": lambda self, *_: 0})
    bases = [
        (known.ModelSamplingDiscreteFlow, velocity),
        (known.ModelSamplingFlux, velocity),
        (known.ModelSamplingDiscrete, scaled),
        (known.ModelSamplingDiscrete, known.IMG_TO_IMG),
        (known.ModelSamplingDiscreteFlow, known.IMG_TO_IMG_FLOW),
        (known.ModelSamplingDiscrete, known.V_PREDICTION_DDPM),
    ]
    for sampling, prediction in bases:
        foreign = model.clone()
        foreign.add_object_patch("model_sampling", type("ModelSampling", (sampling, prediction), {})())
        with pytest.raises(ValueError, match=rf"noise \({sampling.__name__}.*{prediction.__name__}.*is not supported"):
            host.noise_family(foreign)


def test_manifest_reader(host, pack):
    entries = host.manifest()
    assert entries == json.loads((host.PACK / "models_manifest.json").read_text(encoding="utf-8"))
    assert {"adm-afhq-dog", "ddpm-ema-church-256", "sd15", "sdxl"} <= {entry["id"] for entry in entries}


def test_a_latent_of_another_model_is_refused_in_words(host_nodes, make, label):
    with pytest.raises(ValueError, match="made with another model's VAE: it has 4 channels, this model 3"):
        ksampler(host_nodes, make("plain"), label, {"samples": torch.rand(1, 4, 16, 16)})


def test_words_for_a_pixel_prior_are_told(host, host_nodes, make, label, monkeypatch):
    """On the sampler; a label and a zeroed prompt are nothing to speak of."""
    from server import PromptServer

    told = []
    monkeypatch.setattr(host, "say_on_node", lambda node_id, text: told.append((node_id, text)))
    monkeypatch.setattr(PromptServer, "instance", SimpleNamespace(last_node_id="sampler"), raising=False)
    model, nothing = make("plain"), [[torch.zeros(1, 77, 8), {}]]
    ksampler(host_nodes, model, label, picture(), negative=nothing, steps=1)
    assert told == []
    ksampler(host_nodes, model, label, picture(), positive=[[torch.ones(1, 77, 8), {}]], steps=1)
    assert {node for node, _ in told} == {"sampler"}
    assert {text.split(",")[0] for _, text in told} == {"A pixel prior has no words"}
