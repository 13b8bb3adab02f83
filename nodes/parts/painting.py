"""Runs the networks of Paint2pix under the host's memory management, for nodes/paint2pix.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import comfy.model_management
import torch
from comfy.utils import ProgressBar
from torch import Tensor

from ... import host
from ...networks.frozen import Frozen, gradients, ordinary
from ...pictures.fit import scale_image
from ...pipelines import paint2pix
from ...pipelines.paint2pix import Paint2pix, State
from .model_files import STARTER, WEIGHTS, built_in, read_network, starter_or_file

FOLDER = "sketch_paint2pix"
STARTER_PAINTER = WEIGHTS / "painter.safetensors"
STARTER_ARTIST = WEIGHTS / "watercolour.safetensors"
NONE, OWN, WATERCOLOUR = "none", "the file's own", "watercolour (built in)"
EMPTY = "put a file into models/sketch_paint2pix"


def load_painter(canvas: str, identity: str = NONE, decoder: str = OWN) -> Paint2pix:
    """The networks behind the loader's options. ValueError: files of another kind, or that do not belong together."""
    from ...networks.paint2pix.whole import with_decoder  # imported lazily: other sessions need no StyleGAN2

    def read(name: str) -> Any:
        network: Any = read_network(file_path(name), ("painter",), {}, copied=True)[0]
        if decoder == OWN:
            return network
        artist: Any = read_network(decoder_path(decoder), ("stylegan",), {}, copied=True)[0]
        return with_decoder(network, artist)

    network, keeper = read(canvas), None
    if identity != NONE:
        keeper = read(identity)
        if keeper.in_channels != 6:
            raise ValueError(
                f"{identity} is not an identity encoder: it takes {keeper.in_channels} channels, not the 6 of two "
                "pictures. Choose id-encoder.pt or a ReStyle checkpoint."
            )
        if keeper.latent_avg.shape != network.latent_avg.shape:
            raise ValueError(
                f"{identity} was made for a decoder of {keeper.decoder.size} pixels, {canvas} for one of "
                f"{network.decoder.size}. Choose files of the same size."
            )
    return Paint2pix(canvas, host.network_patcher(network), keeper and host.network_patcher(keeper))


def painters() -> list[str]:
    """The options for an encoder with its decoder: the built-in one first."""
    return [*built_in(STARTER_PAINTER), *host.model_files(FOLDER)] or [EMPTY]


def file_path(name: str) -> str:
    """The path behind an option of the loader. ValueError: there is no such file."""
    if name == EMPTY:
        raise ValueError("There is no file in models/sketch_paint2pix. Put one there and press R, or choose another.")
    return starter_or_file("Paint2pix file", FOLDER, name, STARTER, STARTER_PAINTER)


def decoders() -> list[str]:
    """The options for another decoder."""
    return [OWN, *([WATERCOLOUR] if STARTER_ARTIST.is_file() else []), *host.model_files(FOLDER)]


def decoder_path(name: str) -> str:
    """The path behind an option of `decoders` other than the first. ValueError: there is no such file."""
    return starter_or_file("StyleGAN2 decoder", FOLDER, name, WATERCOLOUR, STARTER_ARTIST)


def loaded(patcher: Any) -> tuple[Any, torch.device]:
    """Has the host load networks, with memory for one picture at a time; returns them and their device."""
    side = patcher.model.decoder.size
    needed = 64 * 32 * side**2  # bytes: live maps of the widest level, with the convolutions' workspace
    comfy.model_management.load_models_gpu([patcher], memory_required=needed)
    return patcher.model, patcher.load_device


def squared(image: Tensor, side: int, device: torch.device) -> Tensor:
    """IMAGE as the networks' input [B,3,side,side] in [-1,1]."""
    return 2 * scale_image(image, side, side).movedim(-1, 1).to(device) - 1


def as_image(picture: Tensor) -> Tensor:
    """[B,3,S,S] in [-1,1] as IMAGE on the CPU."""
    return (picture.float().movedim(1, -1) / 2 + 0.5).clamp(0, 1).cpu()


def how_fitted(canvas: Tensor, side: int) -> str:
    """A sentence for canvases that are no squares."""
    height, width = canvas.shape[1:3]
    return "" if height == width else f"The canvas of {width} x {height} was squeezed into {side} x {side}."


def how_many_passes(network: Any, asked: int) -> str:
    """A sentence for painters that have learned fewer passes."""
    made = paint2pix.passes_of(network, asked)
    return "" if made == asked or network.in_channels == 3 else f"{made} of {asked} passes: it has learned no more."


def chosen_pass(use_pass: int, made: int) -> int:
    """The place of a pass: 0 means the last one. ValueError: that many were not made."""
    if use_pass > made:
        raise ValueError(f"use_pass is {use_pass}, but {made} passes were made. Use 0 for the last one.")
    return use_pass - 1 if use_pass else made - 1


def predicted(network, canvas: Tensor, passes: int, device, progress: ProgressBar) -> tuple[list[Tensor], list[Tensor]]:
    """Codes [B,...] and pictures (IMAGE) of each pass; one canvas at a time, so that any number fits."""
    rows = []
    for one in canvas:
        made = []
        for painted in paint2pix.predict(network, squared(one[None], network.encoder.size, device), passes):
            made.append((painted.code.float().cpu(), as_image(painted.picture)))
            progress.update(1)
        rows.append(made)
    turned = list(zip(*rows, strict=True))
    return [torch.cat([code for code, _ in one]) for one in turned], [
        torch.cat([pic for _, pic in one]) for one in turned
    ]


def decoded(network: Any, codes: Tensor, device: torch.device) -> Tensor:
    """IMAGE of codes; one at a time."""
    return torch.cat([as_image(network.decoder(code[None].to(device))) for code in codes])


def encoded_identity(
    painter: Paint2pix, state: State, identity: Tensor, layers: range, steps: int, seed: int
) -> Tensor:
    """delta_w [B,styles,style_dim] by the identity encoder. ValueError: there is none."""
    if painter.identity is None:
        raise ValueError("Load Paint2pix has no identity encoder. Choose one there, or set method to optimise.")
    network, device = loaded(painter.identity)
    moves = []
    for code, picture in zip(state.after.to(device), identity, strict=True):
        generator = torch.Generator().manual_seed(seed)
        mask = paint2pix.layer_mask(layers, network.decoder.styles, code)
        side = network.encoder.size
        now = paint2pix.pooled(network.decoder(code[None]), side)
        noise = _noises(network, generator, device)
        move = paint2pix.identity_move(
            network, code[None], now, squared(picture[None], side, device), mask, noise.__next__, steps
        )
        moves.append(move.float().cpu())
    return torch.cat(moves)


def _noises(network: Any, generator: torch.Generator, device: torch.device) -> Iterator[list[Tensor]]:
    while True:  # drawn on the CPU: the same on every machine
        yield [value.to(device) for value in paint2pix.noise_maps(network.decoder, generator)]


def optimised_identity(
    painter: Paint2pix, state: State, identity: Tensor, layers: range, steps: int, face_network: str
) -> Tensor:
    """delta_w [B,styles,style_dim] by Adam. ValueError: no face network."""
    if face_network == NONE:
        raise ValueError("optimise needs a face network. Choose one, or set method to identity encoder.")
    face = host.network_patcher(read_network(file_path(face_network), ("face",), {}, copied=True)[0])
    comfy.model_management.load_models_gpu([painter.canvas, face])
    device, progress = painter.canvas.load_device, ProgressBar(steps * len(state))
    paint = Frozen(painter.canvas, lambda net, w: paint2pix.pooled(net.decoder(w), 256)).prepare(device)
    look = Frozen(face, paint2pix.face_features).prepare(device)
    moves = []
    with gradients():
        for code, picture in zip(state.after, identity, strict=True):
            code = ordinary(code)[None].to(device)
            mask = paint2pix.layer_mask(layers, code.shape[1], code)
            wanted = ordinary(squared(picture[None], 256, device))
            move = torch.zeros_like(code)
            for found, _ in paint2pix.optimise_identity(paint, look, code, wanted, mask, steps=steps):
                move = found
                comfy.model_management.throw_exception_if_processing_interrupted()
                progress.update(1)
            moves.append(move.cpu())
    return torch.cat(moves)
