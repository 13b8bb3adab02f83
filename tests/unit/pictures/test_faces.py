"""FFHQ's square from points of a face, the cut and the way back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

EYES = np.array([[40.0, 60.0], [80.0, 60.0]])  # the person's right one first: it is left in the picture
MOUTH = np.array([[48.0, 100.0], [60.0, 92.0], [72.0, 100.0], [60.0, 108.0]])


@pytest.fixture(scope="module")
def faces(room):
    return room("pictures.faces")


def turned(points, angle, centre=(60.0, 75.0)):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (points - centre) @ turn.T + centre


def square(faces, angle=0.0):
    eyes, mouth = turned(EYES, angle), turned(MOUTH, angle)
    return faces.face_square(eyes[:1], eyes[1:], mouth)


def smooth(height=160, width=128):
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 3, width), indexing="ij")
    return torch.stack([x.sin(), y.cos(), (x + y).sin()], -1)[None].mul(0.4).add(0.5)


def test_the_square_by_hand(faces):
    """Eyes 40 apart, mouth 40 below them: the larger of 2 x 40 and 1.8 x 40 is half the side; the centre 4 below."""
    made = square(faces)
    assert made.centre == pytest.approx([60, 64])
    assert made.across == pytest.approx([80, 0])
    assert made.down == pytest.approx([0, 80])
    assert made.side == pytest.approx(160)


@pytest.mark.parametrize("angle", [0.3, 1.6, -2.5, math.pi])
def test_the_square_turns_with_the_face(faces, angle):
    made, plain = square(faces, angle), square(faces)
    assert made.centre == pytest.approx(turned(plain.centre[None], angle)[0])
    assert made.across == pytest.approx(turned(plain.across[None], angle, (0, 0))[0])


def test_a_cut_along_the_pixels_is_a_crop(faces):
    image = torch.rand(1, 40, 50, 3, generator=torch.Generator().manual_seed(0))
    made = faces.cut_square(image, faces.Square(np.array([20.0, 14.0]), np.array([8.0, 0.0])), 16)
    assert torch.allclose(made, image[:, 6:22, 12:28], atol=1e-5)
    over = faces.cut_square(image, faces.Square(np.array([2.0, 14.0]), np.array([8.0, 0.0])), 16)
    assert torch.allclose(over[:, :, 6:], image[:, 6:22, :10], atol=1e-5)
    assert torch.allclose(over[:, :, :6], image[:, 6:22, :6].flip(2), atol=1e-5), "mirrored outside"


@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
@pytest.mark.parametrize("side", [64, 128, 320])
def test_there_and_back(faces, angle, side):
    image, place = smooth(), square(faces, angle)
    back, mask = faces.put_square(image, faces.cut_square(image, place, side), place, 0.2)
    assert back.shape == image.shape
    assert mask.shape == (1, 160, 128)
    assert (back - image).abs().max() < 0.03
    assert torch.equal(back[mask == 0], image[mask == 0])
    assert mask[0, 64, 60] == 1


def test_another_face_shows_where_the_mask_says(faces):
    image, place = smooth(), faces.Square(np.array([64.0, 80.0]), np.array([20.0, 0.0]))
    new, mask = faces.put_square(image, torch.ones(1, 32, 32, 3), place, 0.0)
    assert mask.sum() == 40 * 40
    assert (new[mask == 1] - 1).abs().max() < 1e-6
    assert torch.equal(new[mask == 0], image[mask == 0])
    soft = faces.put_square(image, torch.ones(1, 32, 32, 3), place, 0.5)[1]
    assert ((soft > 0) & (soft < 1)).sum() > 500
    assert (soft <= mask).all()
