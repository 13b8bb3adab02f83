"""What ZSE-SBIR's network sees of a sketch and of a photo: both as published, to the pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d

PUBLISHED = 224  # pixels on a side
INK = 300  # red + green + blue of the lightest pixel that counts as ink, of 765
MARGIN = 10  # pixels around the ink
_BITS = 11  # of the fixed-point weights of the published resizing


def sketch_for_retrieval(
    image: Any, size: int = PUBLISHED, invert: bool = False, keep_lines: bool | None = None
) -> Tensor:
    """[3,size,size] in [-1,1] of a drawing: cut to its ink, resized, and centred on a square.

    image: array or tensor [H,W], [H,W,1], [H,W,3] or [H,W,4], uint8 or float in 0..1, dark lines on light paper;
    transparency is paper. invert: the lines are light on dark; see `light_on_dark`. keep_lines: fine lines of a
    large drawing are broadened before it is made smaller; as published, many of their pixels are skipped there. None:
    for networks that look at smaller pictures than the published 224 pixels.
    As published, the ink is every pixel with R + G + B <= 300; it keeps 10 pixels around it, one less below and on the
    right; the longer side becomes `size` (bilinear, without antialiasing), and the rest has the brightest value of the
    picture. ValueError: no ink.
    """
    pixels = 255 - as_bytes(image, "sketch", paper=0) if invert else as_bytes(image, "sketch")
    ink = _is_ink(pixels)
    if not ink.any():
        darkest = int(pixels.sum(2, dtype=int).min())
        raise ValueError(
            f"The sketch is blank: no pixel is dark enough to be a line (red + green + blue at most {INK} of 765, the "
            f"darkest is {darkest}). Draw darker lines, or invert a drawing of light lines."
        )
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    top, left = max(0, int(rows[0]) - MARGIN), max(0, int(columns[0]) - MARGIN)
    cut = pixels[top : int(rows[-1]) + MARGIN, left : int(columns[-1]) + MARGIN]
    height, width = cut.shape[:2]
    ratio = width / height
    if ratio > 1:
        height, width = max(1, int(size / ratio)), size
    else:
        height, width = size, max(1, int(size * ratio))
    if size < PUBLISHED if keep_lines is None else keep_lines:
        cut = broadened(cut, max(cut.shape[0] / height, cut.shape[1] / width))
    small = bilinear(cut, height, width)
    square = np.full((size, size, 3), small.max(), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = small
    return _signed(square)


def photo_for_retrieval(image: Any, size: int = PUBLISHED) -> Tensor:
    """[3,size,size] in [-1,1] of a photo, squashed to a square (bicubic with antialiasing, as Pillow has it).

    image: a PIL image, upright; or an array or tensor as in `sketch_for_retrieval`.
    """
    if not isinstance(image, Image.Image):
        image = Image.fromarray(as_bytes(image, "photo"))
    small = image.resize((size, size), Image.Resampling.BICUBIC).convert("RGB")  # as published, in this order
    return _signed(np.asarray(small))


def light_on_dark(image: Any) -> bool:
    """Whether a drawing has light lines: more than half of the pixels along its edges are ink, or, where it is partly
    transparent, there is no ink on white paper but there are light pixels on black."""
    pixels = as_bytes(image, "sketch")
    frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if _is_ink(frame).mean() > 0.5:
        return True
    if np.shape(image)[2:] != (4,) or _is_ink(pixels).any():
        return False
    return bool(_is_ink(255 - as_bytes(image, paper=0)).any())


def _is_ink(pixels: np.ndarray) -> np.ndarray:
    return pixels.sum(-1, dtype=int) <= INK


def as_bytes(image: Any, what: str = "image", paper: int = 255) -> np.ndarray:
    """[H,W,3] uint8 of an array or tensor [H,W] or [H,W,1, 3 or 4], uint8 or float in 0..1. What is transparent becomes
    paper: white, or black with 0.

    ValueError: another shape or type, no pixels, or NaN or infinite ones.
    """
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = image.float() if image.dtype == torch.bfloat16 else image  # which NumPy does not know
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise ValueError(
            f"The {what} must have the shape [height, width, channels] with 1, 3 or 4 channels, got "
            f"{list(pixels.shape)}. Give one picture at a time."
        )
    if pixels.dtype != np.uint8:
        if pixels.dtype.kind != "f":
            raise ValueError(f"The {what} must hold bytes, or numbers from 0 to 1, got {pixels.dtype}. Convert it.")
        if not np.isfinite(pixels).all():
            raise ValueError(f"The {what} contains NaN or infinite values. Fix what made it.")
        pixels = (pixels.clip(0, 1) * np.float32(255)).round().astype(np.uint8)
    if pixels.shape[2] == 4:
        opaque = pixels[..., 3:].astype(np.float32) / 255
        pixels = (pixels[..., :3] * opaque + paper * (1 - opaque)).round().astype(np.uint8)
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """[height,width,C] uint8 of [H,W,C] uint8, between the four nearest pixels whatever the scale, in the fixed-point
    numbers of OpenCV's INTER_LINEAR (11 bits for a weight), so that results agree to the bit."""
    (rows, down), (columns, right) = _between(pixels.shape[0], height), _between(pixels.shape[1], width)
    whole = pixels.astype(np.int32)
    mixed = whole[:, columns[0]] * right[0][:, None] + whole[:, columns[1]] * right[1][:, None]
    upper, lower = (((mixed[row] >> 4) * share[:, None, None]) >> 16 for row, share in zip(rows, down, strict=True))
    return ((upper + lower + 2) >> 2).clip(0, 255).astype(np.uint8)


def broadened(pixels: np.ndarray, scale: float) -> np.ndarray:
    """[H,W,C] uint8 with dark lines so broad that one pixel of each is left where only every `scale`-th pixel is."""
    reach = math.ceil(scale) // 2
    if scale <= 1 or not reach:
        return pixels
    x = -torch.from_numpy(pixels).movedim(2, 0).float()
    for window in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        x = max_pool2d(x, window, stride=1, padding=(window[0] // 2, window[1] // 2))
    return (-x).byte().movedim(0, 2).numpy()


def _between(before: int, after: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """For each of `after` places: the two nearest of `before`, and their weights in 1/2048."""
    at = ((np.arange(after) + 0.5) * (1 / (after / before)) - 0.5).astype(np.float32)
    first = np.floor(at).astype(int)
    share = at - first
    share[(first < 0) | (first >= before - 1)] = 0
    weight = np.rint(share * 2**_BITS).astype(np.int32)
    rest = np.rint((1 - share) * 2**_BITS).astype(np.int32)
    return (first.clip(0, before - 1), (first + 1).clip(0, before - 1)), (rest, weight)


def _signed(pixels: np.ndarray) -> Tensor:
    """[C,H,W] in [-1,1] of [H,W,C] uint8."""
    return torch.from_numpy(np.array(np.moveaxis(pixels, 2, 0))).float().div_(255).sub_(0.5).div_(0.5)
