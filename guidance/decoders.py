"""How an energy sees a model's prediction: the pixels themselves, a VAE, or the host's linear latent-to-RGB map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import host
from ..networks.frozen import Frozen, ordinary


class Shown(NamedTuple):
    """An image [B, 3, H, W] in [-1, 1], differentiable in the prediction, and the decoder's gain."""

    image: Tensor
    gain: float


@dataclass(frozen=True)
class Decoder:
    """From a model's prediction to an image. kind: "pixels", "vae" or "linear"; vae: the Frozen decoder for "vae".

    Two Decoders of the same VAE are equal, so their energies share one decode. half: the latent is averaged over 2 x 2
    before it is decoded, so the image has half the side and costs a quarter.

    gain is |J^T e|^2 / |e|^2 for a low-frequency image e (J the decoder's derivative): divided by it, a slope moves the
    *picture* as far through any decoder as it would move pixels.
    """

    kind: str
    module: Any = None  # the VAE's network: what decoders are compared by
    vae: Frozen | None = field(default=None, compare=False)
    memory: Any = field(default=None, compare=False)  # (latent shape) -> bytes of a decode and its backward; None: ~0
    shown: tuple[float, float] = (1.0, 0.0)  # (scale, shift) from what the VAE decodes to [-1, 1]
    half: bool = False

    def prepare(self, model: Any, device: torch.device) -> _Prepared:
        return _Prepared(self, model, device)


PIXELS = Decoder("pixels")
LINEAR = Decoder("linear")
AUTO = "auto"
VAE, HALF = "vae", "vae, half size"
KINDS = (AUTO, VAE, "linear", HALF)


def choose(model: Any, vae: Any, kind: str = AUTO, low_pass: bool = False, recompute: bool = False) -> Decoder:
    """The Decoder for a MODEL (and the VAE socket, or None). auto: pixels on pixel priors; else the linear map where
    the energy is a low-pass or there is no VAE; otherwise the VAE (a TAESD works too). HALF: the VAE on half the side.
    recompute: the VAE's blocks are computed again in the backward pass, for less than half the memory.

    ValueError: a VAE is needed but not connected, empty or another model's, or the model's latents have no linear map.
    """
    form = model.get_model_object("latent_format")
    if host.paints_pixels(model):
        return PIXELS
    if kind in (VAE, HALF) or (kind == AUTO and vae is not None and not low_pass):
        if vae is None:
            raise ValueError(f"Decoder '{kind}' needs the model's VAE (or its TAESD): connect vae, or choose 'linear'.")
        host.check_vae(model, vae)
        blocks, parts = host.DECODER_BLOCKS if recompute else (), host.decoder_side(vae)
        network = Frozen(vae.patcher, lambda module, latent: module.decode(latent), parts, None, blocks)
        needed, half = host.decoder_memory(vae, recompute), kind == HALF
        memory = (lambda shape: needed([*shape[:-2], *(-(-side // 2) for side in shape[-2:])])) if half else needed
        return Decoder(VAE, vae.first_stage_model, network, memory, host.picture_range(vae), half)
    if form.latent_rgb_factors is None:
        raise ValueError(
            f"{type(form).__name__} latents have no linear map to colours. Connect the VAE and set decoder to 'vae'."
        )
    return LINEAR


class _Prepared:
    """A decoder for the length of one run."""

    def __init__(self, decoder: Decoder, model: Any, device: torch.device) -> None:
        self.kind, self.shown, self.half = decoder.kind, decoder.shown, decoder.half
        self.gain = 1.0 if decoder.kind == "pixels" else None
        self.format = model.latent_format
        self.process_out = model.process_latent_out
        self.affine: tuple[Tensor, Tensor] | None = None  # process_out as scale and shift, measured at the first call
        if decoder.kind == "vae":
            assert decoder.vae is not None
            self.dtype = next(decoder.vae.patcher.model.parameters()).dtype
            self.decode = decoder.vae.prepare(device)
        elif decoder.kind == "linear":
            self.factors = torch.tensor(self.format.latent_rgb_factors, device=device)
            self.bias = torch.tensor(self.format.latent_rgb_factors_bias or [0.0] * 3, device=device)

    def __call__(self, leaf: Tensor) -> Shown:
        image = self.image(leaf)
        if self.gain is None:
            self.gain = self._gain(leaf)
        return Shown(image, self.gain)

    def image(self, leaf: Tensor) -> Tensor:
        """The prediction [B, C, h, w] or [B, C, 1, h, w] as an image [B, 3, H, W] in [-1, 1], without the gain."""
        if self.kind == "pixels":
            return leaf
        if self.kind == "linear":
            reshape = getattr(self.format, "latent_rgb_factors_reshape", None)
            latent = _first_frame(leaf)
            latent = reshape(latent) if reshape else latent
            return (torch.einsum("bchw,cd->bdhw", latent, self.factors) + self.bias[:, None, None]).clamp(-1.5, 1.5)
        leaf = _halved(leaf) if self.half else leaf
        if self.affine is None:
            # Autograd cannot save a format's own tensors if they were made in inference mode. The map is affine, so
            # two probes give its scale and shift.
            shift = ordinary(self.process_out(torch.zeros_like(leaf[:1])))
            self.affine = ordinary(self.process_out(torch.ones_like(leaf[:1]))) - shift, shift
        scale, shift = self.affine
        picture = _first_frame(self.decode((leaf * scale + shift).to(self.dtype)).to(leaf))[:, :3]
        scale, shift = self.shown
        return picture if (scale, shift) == (1.0, 0.0) else picture * scale + shift

    def _gain(self, leaf: Tensor) -> float:
        """One more decode and backward pass per run, on one image."""
        probe = leaf[:1].detach().requires_grad_()
        image = self.image(probe)
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(1, 3, 4, 4, generator=generator).to(image)
        smooth = F.interpolate(coarse, image.shape[-2:], mode="bilinear", align_corners=False)
        (back,) = torch.autograd.grad((image * smooth).sum(), probe)
        return max(float(back.square().sum() / smooth.square().sum()), 1e-8)


def _halved(x: Tensor) -> Tensor:
    """Means over 2 x 2, of whole pixels at an odd edge: [..., h, w] -> [..., (h+1)/2, (w+1)/2]."""
    small = F.avg_pool2d(x.flatten(0, -4), 2, ceil_mode=True, count_include_pad=False)
    return small.unflatten(0, x.shape[:-3])


def _first_frame(x: Tensor) -> Tensor:
    """[B, C, H, W] of a picture that may have a time axis, [B, C, T, H, W]."""
    return x[:, :, 0] if x.ndim == 5 else x
