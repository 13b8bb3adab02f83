"""The energy nodes in the host: batches, odd sizes, dtypes, weights kept elsewhere, and other people's patches."""

from __future__ import annotations

import pytest
import torch

from helpers import tiny

HEIGHT, WIDTH = 7, 5  # of latents: 56 x 40 pixels
NO_PROMPT = [[torch.zeros(1, 1, 1), {}]]


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.inversion")


@pytest.fixture(scope="module")
def prior(room):
    """The built-in prior in float32."""
    priors = room("nodes.priors")
    return priors.load_prior(priors.prior_file(priors.STARTER), {}, "float32")[0]


def picture(batch, seed, height=8 * HEIGHT, width=8 * WIDTH):
    coarse = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").movedim(1, -1).contiguous()


def shaped(doors, model, sketch, vae=None, extractor=None, weight=0.5, decoder="auto"):
    settings = (sketch, weight, "l2", 0.0, 1.0, decoder, "denoised", "0 to 1", True, 0.0)
    return doors.SketchShapeEnergy.execute(model, *settings, vae=vae, extractor=extractor).args[0]


def coloured(doors, model, exemplar, vae=None, weight=2.0, decoder="auto"):
    settings = (exemplar, weight, 4, 0.0, "style", 0.0, 1.0, decoder, "denoised", "both", 0.0)
    return doors.AppearanceEnergyGuidance.execute(model, *settings, vae=vae).args[0]


def vae_of(dtype):
    """A TAESD-shaped VAE that computes in dtype."""
    import comfy.sd

    return comfy.sd.VAE(sd=tiny.vae().first_stage_model.state_dict(), dtype=dtype)


@torch.inference_mode()
def walked(model, latent, sigmas, noise=None, cfg=1.0, pixels=False):
    prompt = {"positive": NO_PROMPT, "negative": NO_PROMPT} if pixels else {}
    return tiny.sample(model, sigmas, latent, noise=noise, cfg=cfg, **prompt)


def levels(room, model, steps, t0=0.4):
    rooms, family = room("samplers.levels"), room("host").noise_family(model)
    return rooms.walk(family, rooms.start_sigma(family, t0)[0], steps)


def one_shift(room, model, plain, latent, cfg=1.0):
    """What the energies move the prediction by, in a walk of a single step."""
    sigmas = torch.tensor([float(levels(room, plain, 4)[0]), 0.0])
    return walked(model, latent, sigmas, cfg=cfg) - walked(plain, latent, sigmas, cfg=cfg)


def alike(a, b):
    """Cosine of two tensors."""
    return torch.cosine_similarity(a.flatten().double(), b.flatten().double(), 0).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_odd_sizes_and_dtypes(doors, room, batch, dtype):
    """Both energies through a VAE: in half precision the shift is what it is in float32, for every picture."""
    sketch, exemplar = picture(1, 1), picture(batch, 2)
    latent = tiny.latent(batch=batch, height=HEIGHT, width=WIDTH)["samples"]
    shifts = []
    for kind in (torch.float32, dtype):
        model, vae = tiny.model("sd15", dtype=kind), vae_of(kind)
        pulled = coloured(doors, shaped(doors, model, sketch, vae), exemplar, vae, decoder="vae")
        shifts.append(one_shift(room, pulled, model, latent))
        whole = walked(pulled, latent, levels(room, model, 3))
        assert whole.shape == latent.shape
        assert torch.isfinite(whole).all()
    for one, other in zip(*shifts, strict=True):
        assert one.abs().max() > 1e-3
        assert alike(one, other) > 0.9
        assert 0.8 < one.norm() / other.norm() < 1.25


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("size", [(33, 17), (24, 40)])
def test_pixel_priors_of_odd_sizes(doors, prior, room, batch, size):
    """Each picture of a batch is guided as it would be alone."""
    sketch, exemplar = picture(batch, 3, 20, 30), picture(batch, 4, 50, 50)
    latent = picture(batch, 5, *size).movedim(-1, 1) * 2 - 1
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(6))
    sigmas = levels(room, prior, 2)

    def guided(at):
        pulled = coloured(doors, shaped(doors, prior, sketch[at]), exemplar[at])
        return walked(pulled, latent[at], sigmas, noise[at], pixels=True)

    together = guided(slice(None))
    assert together.shape == latent.shape
    assert not torch.equal(together, walked(prior, latent, sigmas, noise, pixels=True))
    for i in range(batch):
        assert (together[i : i + 1] - guided(slice(i, i + 1))).abs().max() < 2e-3


@pytest.mark.parametrize("first", ["energies", "core"])
def test_beside_core_s_pag_and_nag(doors, room, first):
    """Whichever comes first, the colours come nearer to the exemplar's, and the bare MODEL stays bare."""
    from comfy_extras.nodes_nag import NAGuidance
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    plain, exemplar = tiny.model("sd15"), picture(1, 2)
    latent = tiny.latent(height=HEIGHT, width=WIDTH)["samples"]
    before = walked(plain, latent, levels(room, plain, 4), cfg=2.0)

    def core(model):
        return NAGuidance.execute(PerturbedAttentionGuidance.execute(model, 3.0)[0], 5.0, 0.5, 1.5)[0]

    def pulled(model):
        return coloured(doors, model, exemplar, decoder="linear")

    stacked = core(pulled(plain)) if first == "energies" else pulled(core(plain))
    alone = one_shift(room, pulled(plain), plain, latent, cfg=2.0)
    both = one_shift(room, stacked, core(plain), latent, cfg=2.0)
    assert alike(alone, both) > 0.5
    assert 0.5 < alone.norm() / both.norm() < 2
    whole = walked(stacked, latent, levels(room, plain, 4), cfg=2.0)
    assert torch.isfinite(whole).all()
    assert not torch.equal(whole, walked(core(plain), latent, levels(room, plain, 4), cfg=2.0))
    assert torch.equal(walked(plain, latent, levels(room, plain, 4), cfg=2.0), before)


def test_a_second_sampler_at_another_size(doors, room):
    """One patched MODEL, three runs: the second is larger, the third is the first again, bit by bit."""
    model, vae = tiny.model("sd15"), tiny.vae()
    pulled = coloured(doors, shaped(doors, model, picture(1, 1), vae), picture(1, 2), vae)
    sizes = ((HEIGHT, WIDTH), (9, 12), (HEIGHT, WIDTH))
    runs = [
        walked(pulled, tiny.latent(height=high, width=wide)["samples"], levels(room, model, 3)) for high, wide in sizes
    ]
    assert [tuple(run.shape[2:]) for run in runs] == list(sizes)
    assert torch.equal(runs[0], runs[2])


def test_weights_kept_in_another_dtype(doors, room, golden):
    """As with --lowvram, weights rest in half precision and are made ready for each use: the UNet's by the host, the
    extractor's by Frozen. The pull is as with float32 weights, and what rests is not touched."""
    from helpers.golden_files import load_file

    host, networks, extractors = room("host"), room("networks"), room("pictures.extractors")
    weights = load_file(golden / "invbyinv" / "weights_infodraw_nb1.safetensors")  # exact in float16
    sketch = (picture(1, 1, 64, 64).mean(-1, keepdim=True) > 0.5).float().expand(-1, -1, -1, 3)
    latent = tiny.latent(height=HEIGHT, width=WIDTH)["samples"]
    with torch.inference_mode():  # as the host loads them: autograd cannot save such tensors
        vae = tiny.vae()
        lines = {
            kind: host.network_patcher(networks.build(weights, ops=host.NETWORK_OPS, dtype=kind))
            for kind in (torch.float32, torch.float16)
        }
    resting = {key: value.clone() for key, value in lines[torch.float16].model.state_dict().items()}
    model = tiny.model("sd15")
    low = tiny.model("sd15", dtype=torch.float16, cast=torch.float32)
    shifts = []
    for one, patcher in zip((model, low), lines.values(), strict=True):
        pulled = shaped(doors, one, sketch, vae, extractors.extractor("lines", patcher), weight=20.0)
        shifts.append(one_shift(room, pulled, one, latent))
    assert shifts[0].abs().max() > 1e-3
    assert alike(*shifts) > 0.95
    after = lines[torch.float16].model.state_dict()
    assert all(value.dtype == after[key].dtype and torch.equal(value, after[key]) for key, value in resting.items())
    assert all(weight.grad is None for weight in vae.first_stage_model.parameters())
