"""What networks expect of a picture [B,3,H,W]: its size, and the normalisation they were trained with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate

# mean and standard deviation of R, G and B
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def normalised(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]


def scaled(x: Tensor, height: int, width: int, antialias: bool = True) -> Tensor:
    if (height, width) == tuple(x.shape[-2:]):
        return x
    return interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=antialias)


def shorter_side(x: Tensor, size: int, multiple: int = 1) -> tuple[int, int]:
    """Height and width with a shorter side of `size`, both multiples of `multiple`, in about the picture's shape."""
    height, width = x.shape[-2:]
    scale = size / min(height, width)
    return tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (height, width))  # pyright: ignore


def for_clip(size: int, published: bool, x: Tensor) -> Tensor:
    if not published:
        return normalised(scaled(x, *shorter_side(x, size, 32)), *CLIP)
    height, width = x.shape[-2:]
    short = min(height, width)  # the longer side is truncated to whole pixels, the crop rounded as in torchvision
    x = scaled(x, int(size * height / short), int(size * width / short), antialias=False)
    top, left = (round((side - size) / 2) for side in x.shape[-2:])
    return normalised(x[..., top : top + size, left : left + size], *CLIP)


def for_vgg(size: int, smallest: int, way: str, x: Tensor) -> Tensor:
    short = min(x.shape[-2:])
    x = scaled(x, *shorter_side(x, max(min(size or short, short), smallest)))
    if way == "raw":
        return x
    if way == "-1 to 1":
        return 2 * x - 1
    return normalised((x + 1) / 2 if way == "LPIPS" else x, *IMAGENET)


def for_inception(size: int, published: bool, x: Tensor) -> Tensor:
    x = scaled(x, size, size)
    if not published:
        return 2 * x - 1
    # torchvision's conversion from pictures normalised with IMAGENET, applied to pictures that are not
    mean, std = (x.new_tensor(values)[:, None, None] for values in IMAGENET)
    return x * (std / 0.5) + (mean - 0.5) / 0.5


def squared(size: int, mean: Sequence[float], std: Sequence[float], x: Tensor) -> Tensor:
    return normalised(scaled(x, size, size), mean, std)
