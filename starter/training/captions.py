"""The words of the starter world, and how its captions vary in training, so that prompts may mix them freely."""

from __future__ import annotations

import numpy as np

from ...networks.text import split

# what a part of a caption may also be called
VARIANTS = {
    "the sun": ("sun", "a sun"),
    "a moon": ("moon", "the moon"),
    "a clear sky": ("clear sky", "the clear sky"),
    "clouds": ("a cloud", "a cloudy sky"),
    "heavy clouds": ("many clouds", "a cloudy sky"),
    "mountains": ("a mountain", "rocky mountains", "rocks"),
    "snowy mountains": ("snowy peaks", "a snowy mountain", "mountains with snow"),
    "hills": ("a hill", "rolling hills", "green hills"),
    "wooded hills": ("a forest", "hills with a forest", "a wooded hill"),
    "a lake": ("lake", "water", "the lake"),
    "a meadow": ("meadow", "grass", "a green meadow", "a field"),
    "flowers": ("flowers in the grass", "a meadow with flowers"),
    "a path": ("path", "a trail", "a road"),
    "a snowfield": ("snow", "snowfield", "a snowy field", "a winter landscape"),
    "sand dunes": ("dunes", "sand", "a desert", "a sand dune"),
    "conifers": ("trees", "a tree", "pines", "fir trees"),
    "a cabin": ("cabin", "a house", "a hut"),
    "by day": ("day", "in the daytime", "at noon"),
    "at sunset": ("sunset", "in the evening", "at dusk"),
    "at dawn": ("dawn", "in the morning", "at sunrise"),
    "under an overcast sky": ("overcast", "a grey sky", "an overcast day"),
    "at night": ("night", "by moonlight", "at midnight"),
}
OPENINGS = ("a landscape with", "a photo of", "a picture of", "a view of")
JOINTS = (", ", " and ", " with ", " ")
ARTICLES = ("a ", "an ", "the ")


def vocabulary() -> list[str]:
    """Every word of captions and their variants, in alphabetical order."""
    texts = [*VARIANTS, *OPENINGS, *JOINTS, *(text for texts in VARIANTS.values() for text in texts)]
    return sorted({word for text in texts for word in split(text)})


def varied(caption: str, rng: np.random.Generator) -> str:
    """A caption with parts left out, renamed, joined otherwise and in another order, each now and then."""
    parts = caption.split(", ")
    parts = [part for part in parts if rng.random() < 0.85] or parts
    if rng.random() < 0.5:
        rng.shuffle(parts)
    said = []
    for part in parts:
        if part in VARIANTS and rng.random() < 0.35:
            part = str(rng.choice(VARIANTS[part]))
        if part.startswith(ARTICLES) and rng.random() < 0.15:
            part = part.split(" ", 1)[1]
        said.append(part)
    joint = str(rng.choice(JOINTS, p=(0.8, 0.08, 0.04, 0.08)))
    opening = f"{rng.choice(OPENINGS)} " if rng.random() < 0.08 else ""
    return opening + joint.join(said)
