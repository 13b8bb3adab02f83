"""What turns photos and sketches into vectors that can be compared: ZSE-SBIR (Lin et al., CVPR 2023, arXiv 2303.14348),
any CLIP vision model of the host, or both together."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from ...pictures.retrieval import light_on_dark, photo_for_retrieval, sketch_for_retrieval

AT_ONCE = 16  # pictures per call of a network
AUTO = "auto"
INVERT = (AUTO, "yes", "no")
LAYOUT = 1  # changes when the same network gives other vectors than before, so that old indexes are made anew


class Embedder(Protocol):
    """One network that turns pictures into unit vectors."""

    @property
    def name(self) -> str: ...

    @property
    def side(self) -> int:
        """Side of its square input, in pixels."""
        ...

    @property
    def patcher(self) -> Any:
        """The host's ModelPatcher around it."""
        ...

    def digest(self) -> str:
        """A hash of its weights."""
        ...

    def photo(self, picture: Image.Image) -> Tensor:
        """Its input [3,S,S] in [-1,1] for a photo, mode RGB. Threads may call it."""
        ...

    def sketch(self, picture: Any, invert: bool = False) -> Tensor:
        """Its input [3,S,S] in [-1,1] for a sketch, see sketch_for_retrieval. ValueError: it is blank."""
        ...

    def vectors(self, inputs: Tensor) -> Tensor:
        """[B,D] float32 of length 1, on the CPU, for inputs [B,3,S,S]."""
        ...


@dataclass(frozen=True, eq=False)
class SketchNetwork:
    """A ZSE-SBIR network: its vector is the retrieval token [Ret]."""

    name: str
    patcher: Any

    @property
    def network(self) -> Any:
        return self.patcher.model

    @property
    def side(self) -> int:
        return self.network.size

    def digest(self) -> str:
        return weights_digest(self.network)

    def photo(self, picture: Image.Image) -> Tensor:
        return photo_for_retrieval(picture, self.side)

    def sketch(self, picture: Any, invert: bool = False) -> Tensor:
        return sketch_for_retrieval(picture, self.side, invert)

    def tokens(self, inputs: Tensor) -> Tensor:
        """[B,1+N,D] of self-attention, float32, on the network's device: [Ret] first, then the patches row by row."""
        return self.network.tokens(inputs.to(self.patcher.load_device, torch.float32)).float()

    def vectors(self, inputs: Tensor) -> Tensor:
        return normalize(self.tokens(inputs)[:, 0], dim=1).cpu()


@dataclass(frozen=True, eq=False)
class VisionModel:
    """A CLIP_VISION of the host (CLIP, SigLIP, DINO): its vector is the projected summary of the picture.

    Photos are stretched to its square, so that nothing of them is cut off; sketches are cropped as for ZSE-SBIR."""

    name: str
    model: Any

    @property
    def patcher(self) -> Any:
        return self.model.patcher

    @property
    def side(self) -> int:
        """SigLIP 2 NaFlex names no size (-1) but how many patches it looks at."""
        if self.model.image_size > 0:
            return self.model.image_size
        known = self.model.config
        return math.isqrt(known.get("num_patches", 256)) * known.get("patch_size", 16)

    def digest(self) -> str:
        return weights_digest(self.model.model)

    def photo(self, picture: Image.Image) -> Tensor:
        return photo_for_retrieval(picture, self.side)

    def sketch(self, picture: Any, invert: bool = False) -> Tensor:
        return sketch_for_retrieval(picture, self.side, invert)

    def vectors(self, inputs: Tensor) -> Tensor:
        pictures = ((inputs + 1) / 2).movedim(1, -1)
        if getattr(self.model, "model_type", "") == "dinov3":  # it gives no inner layers, which encode_image wants
            found = self._summary(pictures)
        else:
            found = self.model.encode_image(pictures, crop=False)["image_embeds"]
        found = found.float().cpu()
        return normalize(found.mean(1) if found.ndim == 3 else found, dim=1)  # SigLIP keeps its tokens apart

    def _summary(self, pictures: Tensor) -> Tensor:
        """What the network itself gives for pictures [B,S,S,3] in 0..1, loaded before."""
        mean, std = (pictures.new_tensor(values) for values in (self.model.image_mean, self.model.image_std))
        seen = ((pictures - mean) / std).movedim(-1, 1)
        return self.model.model(pixel_values=seen.to(self.patcher.load_device))[2]


@dataclass(frozen=True, eq=False)
class Retriever:
    """The value of the SKETCH_RETRIEVER socket: one embedder, or several whose scores are added as z-scores."""

    parts: tuple[Embedder, ...]

    @property
    def name(self) -> str:
        return " and ".join(part.name for part in self.parts)

    @property
    def patchers(self) -> list[Any]:
        return [part.patcher for part in self.parts]

    @property
    def sketch_network(self) -> SketchNetwork:
        """The ZSE-SBIR network among the parts. ValueError: there is none."""
        for part in self.parts:
            if isinstance(part, SketchNetwork):
                return part
        raise ValueError(
            f"'{self.name}' has no relation network and no retrieval token. Choose a ZSE-SBIR file in Load Sketch "
            "Retriever; for the search, mode 'Ret' works with any network."
        )

    def key(self) -> str:
        """A hash that changes with anything that changes the vectors."""
        found = hashlib.sha256(f"{LAYOUT}".encode())
        for part in self.parts:
            found.update(f"{type(part).__name__} {part.side} {part.digest()}".encode())
        return found.hexdigest()

    def photos(self, pictures: Sequence[Image.Image]) -> list[Tensor]:
        """What `embed` takes, one stack [B,3,S,S] for each part."""
        return [torch.stack([part.photo(picture) for picture in pictures]) for part in self.parts]

    def sketches(self, pictures: Sequence[Any], invert: str = AUTO) -> list[Tensor]:
        """As `photos`, for sketches [H,W,3 or 4] in 0..1. invert: one of INVERT. ValueError: one of them is blank; says
        which."""
        found: list[list[Tensor]] = [[] for _ in self.parts]
        for number, picture in enumerate(pictures, 1):
            try:
                negative = is_negative(picture, invert)
                for part, seen in zip(self.parts, found, strict=True):
                    seen.append(part.sketch(picture, negative))
                    if seen[-1].min() == seen[-1].max():  # a sheet all of ink, or hairs lost in the reduction
                        raise ValueError(
                            f"The sketch is blank as the network sees it: its {part.side} x {part.side} pixels have "
                            "one colour. Draw broader lines, or choose another inversion."
                        )
            except ValueError as error:
                raise ValueError(f"Sketch {number} of {len(pictures)}: {error}") from error
        return [torch.stack(seen) for seen in found]

    def embed(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The unit vectors [B,D] of each part, float32, on the CPU; inputs: see `photos`."""
        return [
            torch.cat([part.vectors(batch) for batch in stack.split(AT_ONCE)])
            for part, stack in zip(self.parts, inputs, strict=True)
        ]


def is_negative(picture: Any, invert: str) -> bool:
    """Whether a sketch is to be inverted. invert: one of INVERT."""
    return light_on_dark(picture) if invert == AUTO else invert == "yes"


def squared(pictures: Sequence[Any], side: int, invert: str = AUTO) -> list[Image.Image]:
    """Sketches to look at: cut to their ink and centred on a square as a network sees them, but `side` pixels large."""
    found = []
    for picture in pictures:
        square = sketch_for_retrieval(picture, side, is_negative(picture, invert))
        found.append(Image.fromarray(((square.movedim(0, -1) + 1) * 127.5).round().byte().numpy()))
    return found


def memory_needed(retriever: Retriever) -> int:
    """Bytes for AT_ONCE pictures in the largest network: 250 per pixel of ViT-B/16, and as much again in reserve."""
    return AT_ONCE * 500 * max(part.side for part in retriever.parts) ** 2


def weights_digest(network: torch.nn.Module) -> str:
    """A hash of a network's weights, since a file of the same name may change. Of large tensors, 4096 numbers spread
    over each are read: retraining changes all of them, and a digest of a gigabyte would cost seconds at each Run."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        flat = value.detach().reshape(-1)
        spread = flat[:: max(1, len(flat) // 4096)].float().cpu()
        found.update(f"{name} {tuple(value.shape)}".encode() + spread.contiguous().numpy().tobytes())
    return found.hexdigest()
