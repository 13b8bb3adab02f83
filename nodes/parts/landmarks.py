"""Faces in the host's FACE_LANDMARKS: {"frames": [[face, ...] per picture], "image_size": (height, width),
"connection_sets": {part: pairs of point numbers}}, each face with "landmarks_xy" [points,2]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ...pictures.faces import Square, face_square

PARTS = ("right_eye", "left_eye", "lips")
NOT_LANDMARKS = (
    "face_landmarks are not what Detect Face Landmarks (MediaPipe) gives. Connect its first output, made from the same "
    "image."
)


def squares(landmarks: Any, image: Tensor, number: int) -> tuple[list[Square], list[int]]:
    """The FFHQ square of one face in each picture [B,H,W,C], and how many faces each has.

    number: which face, 1 for the largest, 2 for the next. ValueError: landmarks of something else or of other pictures;
    a picture without so many faces.
    """
    frames, parts = _read(landmarks, image)
    found = []
    for place, faces in enumerate(frames, 1):
        if len(faces) < number:
            raise ValueError(_too_few(place, len(frames), len(faces), number))
        made = sorted((_square(face, parts) for face in faces), key=lambda square: -square.side)
        found.append(made[number - 1])
    return found, [len(faces) for faces in frames]


def _read(landmarks: Any, image: Tensor) -> tuple[list[Any], dict[str, list[int]]]:
    """The faces of each picture, and the numbers of the points of each part."""
    try:
        frames, size = list(landmarks["frames"]), tuple(int(length) for length in landmarks["image_size"])
        parts = {part: sorted({i for pair in landmarks["connection_sets"][part] for i in pair}) for part in PARTS}
    except (KeyError, TypeError, ValueError):
        raise ValueError(NOT_LANDMARKS) from None
    height, width = image.shape[1:3]
    if size != (height, width):
        raise ValueError(
            f"face_landmarks were found in pictures of {size[-1]} x {size[0]}, and image has {width} x {height}. "
            "Connect the same image to Detect Face Landmarks."
        )
    if len(frames) != len(image):
        raise ValueError(
            f"face_landmarks are of {len(frames)} pictures, and image has {len(image)}. Connect the same image to "
            "Detect Face Landmarks."
        )
    return frames, parts


def _square(face: Mapping[str, Any], parts: Mapping[str, list[int]]) -> Square:
    points = np.asarray(face["landmarks_xy"], np.float64)
    return face_square(*(points[parts[part]] for part in PARTS))


def _too_few(place: int, pictures: int, faces: int, number: int) -> str:
    where = "the picture" if pictures == 1 else f"picture {place} of {pictures}"
    if not faces:
        return (
            f"No face was found in {where}. Lower min_confidence in Detect Face Landmarks, or choose a photo in which "
            "both eyes and the mouth can be seen."
        )
    return (
        f"{where[0].upper()}{where[1:]} has {faces} {'faces' if faces > 1 else 'face'}, and face is {number}. Choose a "
        "smaller number, or raise num_faces in Detect Face Landmarks."
    )
