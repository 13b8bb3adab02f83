"""What several host tests work with: tiny models, made anew for each file, GradOP's SAMPLER, and a small sketch GAN."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers import tiny
from helpers.gradop_walks import FAMILIES, PREDICTED, strokes
from helpers.host import need_host
from helpers.sketchgan_doors import load, model_folder, smooth

need_host()


@pytest.fixture(scope="module")
def clip(loading):
    return tiny.clip()


@pytest.fixture(scope="module")
def model(loading):
    return tiny.model("sd15")


@pytest.fixture(scope="module")
def models(host_nodes):
    return {family: tiny.model(family) for family in FAMILIES}


@pytest.fixture(scope="module")
def vaes(host_nodes):
    return {channels: tiny.vae(channels) for channels in (4, 16)}


@pytest.fixture
def solve(room, vaes):
    """GradOpSolve's SAMPLER with linear, unless said otherwise, and what it told in `.told`."""

    def make(painting=None, *, vae=None, sampler=None, fast_vae=None, **changes):
        settings = {"variant": PREDICTED, "strength": 0.8, "rounds": 2, "gradient_steps": 3, "learning_rate": 0.1}
        settings |= {"painter": "gaussian", "painter_size": 0.0, "decoder": "linear", "gamma": 0.001, "colours": 6}
        painting = strokes() if painting is None else painting
        vae = vae or vaes[4]
        optional = {"sampler": sampler, "fast_vae": fast_vae}
        made = room("nodes.gradop").GradOpSolve.execute(vae, painting, **{**settings, **changes}, **optional).args[0]
        made.told = []
        made.tell = made.told.append
        return made

    return make


@pytest.fixture
def gan_folder(room):
    """models/sketch_gan of the test host, empty before and after."""
    path = model_folder(room("nodes.sketchgan").FOLDER)
    yield path
    for file in path.iterdir():
        file.unlink()


@pytest.fixture(scope="module")
def published_gan(room):
    """A published GAN file of width 8 with random weights, and statistics that fit them; by kind and size."""
    ae, gan = room("networks.sketchgan.autoencoder"), room("networks.sketchgan.refiner")

    def make(kind="art", size=128):
        with torch.inference_mode(False), torch.no_grad():
            torch.manual_seed(0)
            style = ae.StyleEncoder(width=8, classes=4, spectral=True)
            content = ae.ContentEncoder(width=8, spectral=True)
            decoder = ae.Decoder(width=8, size=size, spectral=True)
            generator = gan.refiner(kind, width=8, size=size, spectral=True)
            for layer in (layer for net in (style, content, decoder, generator) for layer in net.modules()):
                if isinstance(layer, nn.BatchNorm2d):
                    layer.momentum = 1.0
                if type(layer).__name__ == "Noise":
                    layer.weight.fill_(0.1)
            styles = style(smooth(4, 3, size))
            noise = [torch.randn(shape) for shape in generator.noise_shapes(4)]
            generator(decoder(content(smooth(4, 1, size)), styles), styles, noise)
            parts = {"style_encoder": style, "content_encoder": content, "decoder": decoder}
            return {
                "ig": {f"module.{key}": value for key, value in generator.state_dict().items()},
                "id": gan.Discriminator(width=8).state_dict(),
                "ae": {f"{name}.{k}": value for name, part in parts.items() for k, value in part.state_dict().items()},
                "ig_ema": [value * 1.02 for value in generator.parameters()],
                "opt_ig": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]},
            }

    return make


@pytest.fixture
def small_gan(room, gan_folder, published_gan):
    """The art GAN of 128 pixels behind its socket."""
    torch.save(published_gan(), gan_folder / "small.pth")
    return load(room("nodes.sketchgan"), "small.pth")
