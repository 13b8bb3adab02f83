"""The starter world: landscapes rendered from a seed, with everything a sketch-to-image method wants to be measured by.

`render(seed)` gives the picture, its label map, a caption and a line sketch; `Scene.strokes` is its flat stroke
painting (SDEdit's simulator). The picture is composed back to front in unit coordinates at twice the size asked
for and reduced, so the same seed shows the same place at 64, 128 or 512 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .noise import Field, smoothstep

LABELS = (
    "sky",
    "cloud",
    "sun",
    "moon",
    "mountain",
    "snow",
    "hills",
    "water",
    "meadow",
    "sand",
    "trees",
    "cabin",
    "path",
)
SKY, CLOUD, SUN, MOON, MOUNTAIN, SNOW, HILLS, WATER, MEADOW, SAND, TREES, CABIN, PATH = range(len(LABELS))
SUPERSAMPLE = 2


@dataclass(frozen=True)
class Scene:
    """One place. image [H, W, 3] and sketch [H, W] are uint8 (dark on white); labels [H, W] index LABELS."""

    seed: int
    image: np.ndarray
    labels: np.ndarray
    sketch: np.ndarray
    caption: str

    @cached_property
    def strokes(self) -> np.ndarray:
        """The picture as flat colour strokes [H, W, 3] uint8: median filter and a palette of six (SDEdit section 4)."""
        import torch

        from ..pictures.painters import simulate_strokes

        painted = simulate_strokes(torch.from_numpy(self.image)[None].float() / 255)
        return (painted[0] * 255).round().byte().numpy()


@dataclass
class Light:
    """The hour's colours (linear 0..1 RGB arrays) and where its sun or moon stands, in unit coordinates."""

    hour: str
    zenith: np.ndarray
    middle: np.ndarray
    horizon: np.ndarray
    sun: np.ndarray
    ambient: np.ndarray
    disc: np.ndarray
    x: float
    y: float
    overcast: float


def rgb(*values) -> np.ndarray:
    return np.array(values, np.float32)


# zenith, middle, horizon, direct light, ambient light, disc
HOURS = {
    "day": (
        rgb(0.16, 0.36, 0.72),
        rgb(0.38, 0.60, 0.87),
        rgb(0.76, 0.86, 0.94),
        rgb(1.05, 1.0, 0.9),
        rgb(0.44, 0.5, 0.6),
        rgb(1, 0.98, 0.88),
    ),
    "sunset": (
        rgb(0.22, 0.18, 0.42),
        rgb(0.80, 0.40, 0.36),
        rgb(1.0, 0.68, 0.34),
        rgb(1.15, 0.66, 0.36),
        rgb(0.36, 0.28, 0.38),
        rgb(1, 0.86, 0.55),
    ),
    "dawn": (
        rgb(0.36, 0.46, 0.70),
        rgb(0.78, 0.66, 0.74),
        rgb(1.0, 0.84, 0.70),
        rgb(1.05, 0.82, 0.68),
        rgb(0.44, 0.42, 0.52),
        rgb(1, 0.95, 0.82),
    ),
    "overcast": (
        rgb(0.50, 0.54, 0.60),
        rgb(0.64, 0.67, 0.71),
        rgb(0.80, 0.81, 0.81),
        rgb(0.34, 0.34, 0.34),
        rgb(0.58, 0.6, 0.63),
        rgb(0.93, 0.93, 0.92),
    ),
    "night": (
        rgb(0.012, 0.025, 0.085),
        rgb(0.035, 0.065, 0.17),
        rgb(0.10, 0.15, 0.27),
        rgb(0.20, 0.25, 0.36),
        rgb(0.10, 0.13, 0.21),
        rgb(0.95, 0.95, 0.9),
    ),
}
GROUNDS = {"lake": 0.36, "meadow": 0.3, "dunes": 0.2, "snowfield": 0.14}


class World:
    """Renders scenes at one size. Holds only interpolation tables; every scene comes from its own seed."""

    def __init__(self, size: int = 64):
        if size < 16 or size % 8:
            raise ValueError(f"A starter scene needs a side that is a multiple of 8 from 16 up; got {size}.")
        self.size = size
        self.n = size * SUPERSAMPLE
        self.field = Field(self.n)
        at = (np.arange(self.n, dtype=np.float32) + 0.5) / self.n
        self.x, self.y = at[None, :], at[:, None]

    def render(self, seed: int) -> Scene:
        """One scene; the same seed gives the same bytes."""
        return Painting(self, np.random.default_rng(seed)).finish(seed)


def render(seed: int, size: int = 64) -> Scene:
    """One scene of `size` x `size` pixels."""
    return World(size).render(seed)


def render_batch(seeds, size: int = 64) -> list[Scene]:
    """Scenes of several seeds; cheaper than one by one."""
    world = World(size)
    return [world.render(int(seed)) for seed in seeds]


class Painting:
    """A scene being painted back to front: `image` [n, n, 3], `labels` and `parts` [n, n] (parts part the outlines).

    layer: called with the painting each time a layer is done: sky, disc, clouds, each range, the ground, each thing.
    """

    def __init__(
        self, world: World, rng: np.random.Generator, layer: Callable[[Painting], None] = lambda painting: None
    ):
        self.world, self.rng, self.field, self.layer = world, rng, world.field, layer
        self.n, self.x, self.y = world.n, world.x, world.y
        self.image = np.empty((self.n, self.n, 3), np.float32)
        self.labels = np.zeros((self.n, self.n), np.uint8)
        self.parts = np.zeros((self.n, self.n), np.int16)
        self.words: list[str] = []
        self.choose()
        self.paint()

    def choose(self):
        """What and when: ground, hour, colours, where the horizon and the sun stand."""
        rng = self.rng
        self.ground = str(rng.choice(list(GROUNDS), p=list(GROUNDS.values())))
        hour = str(rng.choice(list(HOURS), p=[0.34, 0.22, 0.1, 0.16, 0.18]))
        self.horizon = float(rng.uniform(0.48, 0.66))
        hue, level = rng.normal(0, 0.022, (6, 3)), rng.normal(0, 0.05, (6, 1))
        tint = (1 + hue + level).astype(np.float32)
        zenith, middle, horizon, sun, ambient, disc = (c * t for c, t in zip(HOURS[hour], tint, strict=True))
        disc = HOURS[hour][-1]
        if hour == "sunset":  # from golden to violet
            violet = float(rng.uniform(0, 0.6))
            middle = middle * (1 - violet) + rgb(0.55, 0.28, 0.46) * violet
        height = rng.uniform(0.05, 0.22) if hour in ("sunset", "dawn") else rng.uniform(0.2, 0.42)
        self.light = Light(
            hour,
            zenith,
            middle,
            horizon,
            sun,
            ambient,
            np.minimum(disc, 1),
            float(rng.uniform(0.12, 0.88)),
            max(0.07, self.horizon - float(height)),
            1.0 if hour == "overcast" else 0.0,
        )
        self.winter = self.ground == "snowfield" or (self.ground == "lake" and rng.random() < 0.25)

    def paint(self):
        for part in (self.paint_sky, self.paint_disc, self.paint_clouds):
            part()
            self.layer(self)
        rng, ground = self.rng, self.ground
        far = rng.random()
        if ground == "dunes":
            if far < 0.5:
                self.paint_mountains(0.75, rng.uniform(0.04, 0.1), snowy=False, word=False)
                self.layer(self)
        elif far < 0.85:
            layers = 1 + int(rng.random() < 0.6)
            for i in range(layers):
                self.paint_mountains(0.62 - 0.3 * i, rng.uniform(0.13, 0.32) * (1 - 0.4 * i), snowy=rng.random() < 0.8)
                self.layer(self)
        if ground != "dunes" and rng.random() < 0.75:
            for i in range(1 + int(rng.random() < 0.5)):
                self.paint_hills(0.42 - 0.2 * i, rng.uniform(0.03, 0.1) * (1 - 0.3 * i), forest=rng.random() < 0.55)
                self.layer(self)
        {
            "lake": self.paint_lake,
            "meadow": self.paint_meadow,
            "dunes": self.paint_dunes,
            "snowfield": self.paint_snowfield,
        }[ground]()
        self.layer(self)
        self.paint_things()

    # -- sky ----------------------------------------------------------------------------------------------------------

    def paint_sky(self):
        light = self.light
        t = np.clip(self.y / self.horizon, 0, 1)[..., None]
        lower = smoothstep(0.35, 1.05, t)
        sky = light.zenith + (light.middle - light.zenith) * smoothstep(0, 0.75, t)
        self.image[:] = sky + (light.horizon - sky) * lower
        if light.hour == "night":
            stars = self.rng.random((70, 3))
            for sx, sy, glow in stars[: int(self.rng.integers(15, 70))]:
                self.image[int(sy * self.horizon * 0.95 * self.n), int(sx * self.n)] += 0.9 * glow**3 + 0.12

    def paint_disc(self):
        """Sun or moon with its glow; an overcast sky hides it."""
        light, rng = self.light, self.rng
        if light.overcast:
            return
        night = light.hour == "night"
        radius = float(rng.uniform(0.028, 0.05))
        distance = np.sqrt((self.x - light.x) ** 2 + (self.y - light.y) ** 2)
        reach = {"night": 0.09, "day": 0.14}.get(light.hour, 0.24)
        glow = np.exp(-distance / reach)[..., None] * (0.22 if night else 0.5)
        self.image += glow * (light.disc - self.image * 0.6)
        disc = smoothstep(radius + 0.008, radius - 0.004, distance)
        face = light.disc[None, None]
        if night:
            maria = self.field.plane(rng, 14, 14, 1)
            face = light.disc * (1 - 0.1 * smoothstep(0, 0.6, maria))[..., None]
        self.blend(disc, face)
        self.mark(distance < radius, MOON if night else SUN)
        self.words.append("a moon" if night else "the sun")

    def paint_clouds(self):
        """Billowed or streaked clouds, lit from the sun's side and from above, gone at the horizon."""
        light, rng = self.light, self.rng
        amount = float(rng.uniform(-0.5, 0.75)) + 0.3 * light.overcast
        if amount < -0.15:
            self.words.append("a clear sky")
            return
        streaks = rng.random() < 0.3
        noise = self.field.plane(rng, 4, 2, 5, 0.45) if streaks else self.field.plane(rng, 4, 3, 5, 0.55)
        if streaks:
            noise = noise * 0.85
        cover = noise + 0.32 * amount - 0.20 + 0.1 * np.cos((self.y / self.horizon - 0.55) * 3)
        density = smoothstep(0.0, 0.34, cover) * smoothstep(1.0, 0.8, self.y / self.horizon)
        shift = max(1, self.n // 40)
        # density a little nearer to the sun: above, and to its side
        at = np.arange(self.n)
        above = cover[np.maximum(at - shift, 0)]
        aside = cover[:, np.clip(at + (-shift if light.x < 0.5 else shift), 0, self.n - 1)]
        toward = 0.7 * above + 0.3 * aside
        lit = np.clip(0.62 + 1.6 * (cover - toward) - 0.55 * np.clip(cover - 0.2, 0, 1), 0, 1)[..., None]
        bright, dark = {
            "day": (rgb(1.0, 1.0, 1.0), rgb(0.66, 0.71, 0.80)),
            "overcast": (rgb(0.88, 0.88, 0.89), rgb(0.50, 0.53, 0.57)),
            "sunset": (rgb(1.0, 0.72, 0.50), rgb(0.52, 0.32, 0.45)),
            "dawn": (rgb(1.0, 0.90, 0.84), rgb(0.68, 0.60, 0.70)),
            "night": (rgb(0.25, 0.29, 0.40), rgb(0.05, 0.07, 0.13)),
        }[light.hour]
        near = np.exp(-np.abs(self.x - light.x) * 2.5)[..., None] if light.hour in ("sunset", "dawn") else 0.0
        bright = bright + (light.disc - bright) * 0.5 * near
        self.blend(density * (0.9 if not streaks else 0.7), dark + (bright - dark) * lit)
        self.mark(density > 0.5, CLOUD)
        self.words.append("clouds" if amount < 0.5 else "heavy clouds")

    # -- land ---------------------------------------------------------------------------------------------------------

    def shade(self, albedo, lit):
        """Albedo [..., 3] under the hour's light; `lit` [...] is how squarely the sun falls on it (0..1)."""
        return albedo * (self.light.ambient + self.light.sun * lit[..., None])

    def haze(self, colour, amount):
        """Air between the viewer and the land, in the horizon's colour."""
        return colour + (self.light.horizon * 0.92 - colour) * amount

    def paint_mountains(self, distance: float, height: float, snowy: bool, word=True):
        """A range: sharp crest, craggy relief lit from the sun's side, snow above a ragged line, mist at its foot."""
        rng = self.rng
        crest = self.field.line(rng, int(rng.integers(2, 4)), 6, 0.5, ridged=True)
        top = self.horizon + 0.01 - height * np.clip(0.5 + 0.75 * crest, 0.05, 1.6)[None]
        rows = self.band(top)
        below = self.y[rows] - top
        cover = self.edge(below)
        # ridges fan out as they run down from the peaks: lean the relief sideways, the more the lower
        lean = (self.field.line(rng, 4, 1) * 2.2 * below * self.n).astype(int)
        columns = (np.arange(self.n)[None] + lean) % self.n
        relief = np.take_along_axis(self.field.plane(rng, 9, 6, 4, 0.62, ridged=True)[rows], columns, 1)
        fold = relief + 0.5 * np.take_along_axis(self.field.plane(rng, 8, 10, 2, 0.5)[rows], columns, 1)
        slope = np.gradient(fold, axis=1) * self.n * 0.045 + np.gradient(top, axis=1) * self.n * 0.35
        side = -1.0 if self.light.x < 0.5 else 1.0
        lit = np.clip(0.42 + 0.55 * side * -slope, 0.0, 1.0)
        rock = rgb(0.40, 0.37, 0.38) * (1 + rng.normal(0, 0.08, 3)).astype(np.float32)
        if self.ground == "dunes":
            rock = rgb(0.58, 0.40, 0.30)
        grain = (1 + 0.22 * relief)[..., None]
        colour = self.shade(rock * grain, lit)
        line = float(rng.uniform(0.25, 0.85)) if snowy else -1.0
        snow = np.zeros_like(below)
        if snowy:
            depth = height * line
            ragged = below + 0.35 * depth * fold + 0.25 * depth * (1 - lit)
            snow = smoothstep(depth, depth * 0.72, ragged)
            white = self.shade(rgb(0.93, 0.95, 1.0), 0.2 + 0.8 * lit)
            colour = colour + (white - colour) * snow[..., None]
        if not self.winter and self.ground != "dunes":  # woods climb the foot
            woods = smoothstep(0.5, 0.85, below / height + 0.25 * fold) * (1 - snow)
            colour = colour + (self.shade(rgb(0.16, 0.24, 0.15) * grain, lit) - colour) * (0.75 * woods)[..., None]
        mist = distance * 0.75 + 0.4 * distance * smoothstep(0.3, 1.1, below / height)
        colour = self.haze(colour, np.clip(mist, 0, 0.92)[..., None])
        self.blend(cover, colour, (rows,))
        self.mark(cover > 0.5, MOUNTAIN, (rows,), part=True)
        self.mark((cover > 0.5) & (snow > 0.5), SNOW, (rows,))
        if word:
            self.words.append("snowy mountains" if snowy else "mountains")

    def paint_hills(self, distance: float, height: float, forest: bool):
        """Rounded hills; wooded ones carry a jagged line of far conifers."""
        rng = self.rng
        top = self.horizon + 0.02 - height * (0.5 + 0.8 * self.field.line(rng, 2, 3, 0.4))[None]
        if forest:
            spikes = np.abs(self.field.line(rng, 64, 1)) * 0.6 + np.abs(self.field.line(rng, 128, 1)) * 0.4
            top = top - 0.035 * (1.2 - distance) * spikes[None]
        rows = self.band(top)
        below = self.y[rows] - top
        cover = self.edge(below)
        texture = self.field.plane(rng, 16, 10, 3, 0.6)[rows]
        slope = np.gradient(top, axis=1) * self.n
        side = -1.0 if self.light.x < 0.5 else 1.0
        lit = np.clip(0.5 + 0.35 * side * -slope * (0 if forest else 1) + 0.3 * texture, 0, 1)
        if self.winter:
            albedo = rgb(0.28, 0.33, 0.34) if forest else rgb(0.86, 0.89, 0.94)
        else:
            albedo = (
                rgb(0.13, 0.23, 0.14)
                if forest
                else rgb(0.34, 0.45, 0.20) * (1 + rng.normal(0, 0.1, 3)).astype(np.float32)
            )
        colour = self.shade(albedo * (1 + 0.25 * texture)[..., None], lit * (0.7 if forest else 1))
        mist = np.clip(distance + 0.35 * distance * smoothstep(0, height * 1.4, below), 0, 0.9)
        self.blend(cover, self.haze(colour, mist[..., None]), (rows,))
        self.mark(cover > 0.5, HILLS, (rows,), part=True)
        self.words.append("wooded hills" if forest else "hills")

    def ground_texture(self, rows: int, columns: int, octaves: int, gain=0.6) -> np.ndarray:
        """Noise drawn in perspective: fine and flat near the horizon, coarse at the viewer's feet."""
        noise = self.field.plane(self.rng, rows, columns, octaves, gain)
        depth = np.clip((self.y[:, 0] - self.horizon) / (1 - self.horizon), 0, 1)
        rows_at = (depth**0.55 * (self.n - 1)).astype(int)
        return noise[rows_at]

    def below(self, top) -> np.ndarray:
        """0 at the top edge of the ground, 1 at the bottom of the picture."""
        return np.clip((self.y - top) / (1 - self.horizon), 0, 1)

    def paint_lake(self):
        """Still water: the picture above, mirrored, rippled and darkened; then a near bank."""
        rng, n = self.rng, self.n
        shore = int(self.horizon * n) + 1
        rows = np.arange(shore, n)
        ripple = self.field.plane(rng, 40, 6, 3, 0.6)[rows]
        calm = float(rng.uniform(0.2, 1.0))
        depth = ((rows - shore) / (n - shore))[:, None]
        source = shore - 1 - (rows - shore)[:, None] * 0.95 + ripple * n * 0.035 * (0.15 + depth) / calm * 0.6
        source = np.clip(source, 0, shore - 1).astype(int)
        shake = np.clip(np.arange(n)[None] + (ripple * n * 0.012 * (0.2 + depth)).astype(int), 0, n - 1)
        mirror = self.image[source, shake]
        deep = self.shade(
            rgb(0.10, 0.22, 0.28) * (1 + rng.normal(0, 0.12, 3)).astype(np.float32), np.full_like(ripple, 0.55)
        )
        mixture = (0.16 + 0.42 * depth + 0.10 * ripple)[..., None]
        water = mirror * 0.93 + (deep - mirror * 0.93) * np.clip(mixture, 0, 1)
        water += (np.clip(ripple - 0.25, 0, 1) * 0.22 * (0.3 + depth))[..., None] * self.light.horizon
        if not self.light.overcast:  # the sun's road on the water
            road = np.exp(-(((self.x - self.light.x) / (0.03 + 0.05 * depth)) ** 2)) * np.clip(
                0.25 + ripple * 1.6, 0, 1
            )
            water += (road * (0.6 if self.light.hour != "night" else 0.35))[..., None] * self.light.disc
        self.image[rows] = water
        self.labels[rows] = WATER
        self.parts[rows] = self.parts.max() + 1
        self.words.append("a lake")
        self.floor = self.horizon + 0.06
        self.layer(self)
        if rng.random() < 0.55:
            top = 1 - rng.uniform(0.05, 0.2) * (0.55 + 0.6 * self.field.line(rng, 2, 4, 0.45))[None]
            texture = self.field.plane(rng, 20, 16, 3, 0.65)
            albedo = (
                rgb(0.85, 0.88, 0.93)
                if self.winter
                else rgb(0.27, 0.33, 0.15) * (1 + rng.normal(0, 0.12, 3)).astype(np.float32)
            )
            bank = self.shade(albedo * (1 + 0.35 * texture)[..., None], np.clip(0.45 + 0.5 * texture, 0, 1))
            cover = self.edge(self.y - top)
            self.blend(cover, bank)
            self.mark(cover > 0.5, SNOW if self.winter else MEADOW, part=True)
            self.bank = top
        else:
            self.bank = None

    def paint_field(self, albedo, patch, strength: float, label: int, swell=0.02):
        """Open ground up to a gently rolling horizon; `patch` is the colour of its darker or drier patches."""
        top = self.horizon - swell * (0.4 + self.field.line(self.rng, 2, 3, 0.4))[None]
        texture = self.ground_texture(20, 10, 4)
        broad = self.ground_texture(5, 3, 2)
        fine = self.ground_texture(40, 40, 1)
        mixed = albedo + (patch - albedo) * smoothstep(-0.3, 0.45, broad + 0.4 * texture)[..., None]
        lit = np.clip(0.55 + strength * (texture + 0.4 * fine) + 0.25 * broad, 0, 1)
        colour = self.shade(mixed * (1 + strength * 0.5 * texture)[..., None], lit)
        colour = self.haze(colour, (0.30 * (1 - smoothstep(0, 0.35, self.below(top))))[..., None])
        cover = self.edge(self.y - top)
        self.blend(cover, colour)
        self.mark(cover > 0.5, label, part=True)
        self.floor = self.horizon + 0.03
        self.bank = None

    def paint_meadow(self):
        rng = self.rng
        green = rgb(0.32, 0.46, 0.15) * (1 + rng.normal(0, 0.1, 3)).astype(np.float32)
        patch = rgb(0.52, 0.50, 0.22) if rng.random() < 0.4 else rgb(0.20, 0.34, 0.12)
        self.paint_field(green, patch, 0.45, MEADOW)
        self.words.append("a meadow")
        self.layer(self)
        if rng.random() < 0.3:
            specks = (self.ground_texture(64, 64, 1) + 0.35 * self.ground_texture(6, 4, 1)) > 0.62
            hue = [rgb(0.9, 0.3, 0.3), rgb(0.95, 0.85, 0.35), rgb(0.85, 0.8, 0.95), rgb(0.65, 0.45, 0.85)][
                int(rng.integers(4))
            ]
            cover = specks * smoothstep(0.02, 0.3, self.below(self.horizon)) * (self.labels == MEADOW)
            self.blend(cover * 0.8, self.shade(np.broadcast_to(hue, self.image.shape), np.full_like(cover, 0.6)))
            self.words.append("flowers")
        if rng.random() < 0.35:
            self.paint_path()

    def paint_path(self):
        """A path that winds from the viewer's feet to the horizon, narrowing as it goes."""
        rng = self.rng
        depth = self.below(self.horizon + 0.01)[:, :1]
        start, end = rng.uniform(0.25, 0.75, 2)
        bend = rng.uniform(-0.25, 0.25)
        centre = end + (start - end) * depth + bend * np.sin(np.sqrt(depth) * 5.5) * np.sqrt(depth) * (1 - 0.6 * depth)
        half = 0.004 + 0.085 * depth**1.3
        cover = smoothstep(half * 1.15, half * 0.85, np.abs(self.x - centre)) * (self.labels == MEADOW)
        texture = self.ground_texture(24, 24, 2)
        colour = self.shade(
            rgb(0.58, 0.49, 0.36) * (1 + 0.25 * texture)[..., None], np.clip(0.55 + 0.3 * texture, 0, 1)
        )
        self.blend(cover * 0.92, self.haze(colour, (0.25 * (1 - depth))[..., None]))
        self.mark(cover > 0.5, PATH, part=True)
        self.words.append("a path")

    def paint_snowfield(self):
        self.paint_field(rgb(0.92, 0.94, 0.99), rgb(0.80, 0.85, 0.95), 0.22, SNOW)
        self.words.append("a snowfield")

    def paint_dunes(self):
        """Dunes one behind another: a lit and a shadowed flank each, parted by a sharp crest, with wind ripples."""
        rng = self.rng
        sand = rgb(0.80, 0.62, 0.38) * (1 + rng.normal(0, 0.07, 3)).astype(np.float32)
        if rng.random() < 0.25:
            sand = rgb(0.80, 0.46, 0.28)
        count = int(rng.integers(3, 6))
        side = -1.0 if self.light.x < 0.5 else 1.0
        for i in range(count):
            near = i / (count - 1)
            base = self.horizon + 0.01 + (0.85 - self.horizon) * near**1.4
            swell = 0.05 + 0.07 * near
            profile = self.field.line(rng, 2, 2, 0.35)
            top = base - swell * profile[None]
            below = self.y - top
            # the crest runs down the front of the dune from its summit: one flank in sun, the other in shade
            summit = float(self.x[0, int(np.argmax(profile))])
            crest = summit + side * -0.9 * below * (0.6 + rng.random()) + 0.05 * self.field.line(rng, 5, 2)[:, None]
            flank = smoothstep(-0.015, 0.015 + 0.05 * near, (self.x - crest) * side)
            ripples = self.ground_texture(48, 5, 2, 0.5)
            slope = np.gradient(top, axis=1) * self.n
            lit = np.clip(0.30 + 0.5 * flank - 0.3 * slope * side + 0.12 * ripples, 0, 1)
            colour = self.shade(sand * (1 + 0.10 * ripples)[..., None], lit)
            colour = self.haze(colour, 0.45 * (1 - near) ** 1.5)
            cover = self.edge(below)
            self.blend(cover, colour)
            self.mark(cover > 0.5, SAND, part=True)
        self.words.append("sand dunes")
        self.floor, self.bank = self.horizon + 0.1, None

    # -- things -------------------------------------------------------------------------------------------------------

    def paint_things(self):
        """Conifers and a cabin, far ones first."""
        rng = self.rng
        self.things: list[tuple] = []
        if self.ground == "dunes":
            return
        on_bank = self.bank is not None
        if self.ground == "lake" and not on_bank:  # far shore only
            for x in rng.uniform(0, 1, int(rng.integers(0, 8))):
                self.things.append((self.horizon + 0.004, float(x), float(rng.uniform(0.05, 0.11)), "tree"))
        elif rng.random() < 0.78:
            centre, spread = rng.uniform(0.1, 0.9), rng.uniform(0.12, 0.5)
            for _ in range(int(rng.integers(1, 14))):
                x = float(np.clip(rng.normal(centre, spread), -0.02, 1.02))
                self.things.append((*self.stand(x), "tree"))
        if rng.random() < 0.32:
            x = float(rng.uniform(0.14, 0.86))
            if self.ground == "lake" and not on_bank:
                self.things.append((self.horizon + 0.008, x, 0.07, "cabin"))
            else:
                foot, _, height = self.stand(x, 0.45)
                self.things.append((foot, x, height * 0.62, "cabin"))
        kinds = {kind for *_, kind in self.things}
        for foot, x, height, kind in sorted(self.things):
            (self.paint_tree if kind == "tree" else self.paint_cabin)(foot, x, height)
            self.layer(self)
        if "tree" in kinds:
            self.words.append("conifers")
        if "cabin" in kinds:
            self.words.append("a cabin")

    def stand(self, x: float, nearest=1.0):
        """A place for a thing to stand at x: foot, x and height, larger the nearer."""
        near = float(self.rng.random()) ** 1.6 * nearest
        if self.bank is not None:
            top = float(self.bank[0, min(max(int(x * self.n), 0), self.n - 1)])
            return top + 0.02 + 0.04 * near, x, float(self.rng.uniform(0.2, 0.42))
        foot = self.floor + (0.97 - self.floor) * near
        return foot, x, (0.09 + 0.42 * near) * float(self.rng.uniform(0.75, 1.2))

    def window(self, foot: float, x: float, height: float, half_width: float):
        """Pixel window round a thing, its own coordinates: u across (-1..1), v down (0 top, 1 foot); None outside."""
        n = self.n
        top, bottom = int((foot - height) * n) - 1, min(int(foot * n) + 2, n)
        left, right = max(int((x - half_width) * n) - 1, 0), min(int((x + half_width) * n) + 2, n)
        top = max(top, 0)
        if top >= bottom or left >= right:
            return None
        u = (self.x[:, left:right] - x) / half_width
        v = (self.y[top:bottom] - (foot - height)) / height
        return (slice(top, bottom), slice(left, right)), u, v

    def paint_tree(self, foot: float, x: float, height: float):
        """A conifer: tiers of drooping boughs, lit from the sun's side, dusted in winter."""
        rng = self.rng
        half = height * float(rng.uniform(0.17, 0.25))
        place = self.window(foot, x, height, half)
        if place is None:
            return
        where, u, v = place
        tiers = 5 + int(rng.integers(4))
        saw = (v * tiers + 0.25 * np.abs(u)) % 1.0
        reach = (0.06 + 0.94 * np.clip(v, 0, 1)) * (0.62 + 0.38 * saw)
        reach = reach * (1 + 0.12 * np.sin(u * 9 + v * 31 + 7 * rng.random()))
        soft = 1.2 / (half * self.n)
        body = smoothstep(reach + soft, reach - soft, np.abs(u)) * (v > 0) * (v < 0.94)
        trunk = (np.abs(u) < 0.09) * (v >= 0.9) * (v <= 1.0)
        near = smoothstep(0.06, 0.4, height)
        side = -1.0 if self.light.x < 0.5 else 1.0
        lit = np.clip(0.30 + 0.42 * u * side / np.maximum(reach, 0.2) + 0.35 * (saw - 0.55), 0, 1)
        green = rgb(0.115, 0.20, 0.115) * (1 + rng.normal(0, 0.12, 3)).astype(np.float32)
        albedo = np.broadcast_to(green, (*lit.shape, 3))
        if self.winter:
            snow = smoothstep(0.5, 0.2, saw) * 0.75
            albedo = albedo + (rgb(0.85, 0.88, 0.93) - albedo) * snow[..., None]
        colour = self.haze(self.shade(albedo, lit), 0.32 * (1 - near))
        self.blend(np.maximum(body, trunk), colour, where)
        self.mark(np.maximum(body, trunk) > 0.5, TREES, where, part=True)

    def paint_cabin(self, foot: float, x: float, height: float):
        """A log cabin: gable front, long side, pitched roof, a door and a window that glows after dark."""
        rng = self.rng
        half = height * 0.95
        place = self.window(foot, x, height, half)
        if place is None:
            return
        where, u, v = place
        if rng.random() < 0.5:
            u = -u
        dark = self.light.hour in ("night", "sunset")
        wood = [rgb(0.44, 0.29, 0.18), rgb(0.52, 0.16, 0.12), rgb(0.60, 0.54, 0.46)][int(rng.integers(3))]
        roof_colour = rgb(0.88, 0.90, 0.94) if self.winter else rgb(0.24, 0.19, 0.17)
        eave = 0.48
        ridge = -0.32  # the gable's peak stands over the middle of the front wall
        front = (u > -0.86) & (u < 0.22) & (v > eave - 0.02) & (v < 1)
        gable = (v > 0.08 + np.abs(u - ridge) * (eave - 0.08) / 0.58) & (v <= eave) & (np.abs(u - ridge) < 0.56)
        wall = (u >= 0.22) & (u < 0.92) & (v > eave) & (v < 0.97)
        slant = (v - 0.08) / (eave + 0.04 - 0.08)
        roof = (v > 0.06) & (v < eave + 0.05) & (u > ridge + slant * 0.6) & (u < 0.72 + slant * 0.26)
        rim = (v > 0.02 + np.abs(u - ridge) * 0.69) & (v < 0.12 + np.abs(u - ridge) * 0.69) & (np.abs(u - ridge) < 0.66)
        chimney = (u > 0.34) & (u < 0.48) & (v > -0.02) & (v < 0.2)
        full = np.broadcast_to
        shape = (v.shape[0], u.shape[1])
        logs = full(1 - 0.14 * ((v * 9) % 1 < 0.3), shape)[..., None]
        faces = (
            (chimney, rgb(0.36, 0.33, 0.32), 0.5),
            (wall, wood * 0.82, 0.3),
            (roof, roof_colour, 0.55),
            (front | gable, wood, 0.62),
            (rim, roof_colour * 0.9, 0.7),
        )
        for mask, albedo, lit in faces:
            mask = full(mask, shape)
            surface = logs if albedo is wood or mask is wall else 1.0
            self.blend(mask * 1.0, self.shade(full(albedo, (*shape, 3)) * surface, full(np.float32(lit), shape)), where)
            self.mark(mask, CABIN, where)
        door = full((np.abs(u + 0.55) < 0.11) & (v > 0.66) & (v < 1), shape)
        self.blend(door * 1.0, self.shade(full(wood * 0.45, (*shape, 3)), full(np.float32(0.4), shape)), where)
        pane = full(
            ((np.abs(u + 0.10) < 0.14) & (np.abs(v - 0.70) < 0.085))
            | ((np.abs(u - 0.58) < 0.12) & (np.abs(v - 0.72) < 0.08)),
            shape,
        )
        glass = rgb(1.0, 0.80, 0.38) if dark else self.light.horizon * 0.62
        self.blend(pane * 1.0, full(glass, (*shape, 3)), where)
        if self.light.hour == "night":
            glow = np.exp(-((self.x - x) ** 2 + (self.y - foot + 0.3 * height) ** 2) / (0.9 * height) ** 2)[..., None]
            self.image += 0.16 * glow * rgb(1.0, 0.7, 0.3)
        self.parts[where][full(front | gable | wall | roof | rim | chimney, shape)] = self.parts.max() + 1
        self.parts[where][full(door | pane, shape)] = self.parts.max() + 1

    def band(self, top) -> slice:
        """Rows from the highest point of a skyline down to where the ground hides it."""
        return slice(max(int(top.min() * self.n) - 1, 0), min(int((self.horizon + 0.08) * self.n), self.n))

    # -- canvas -------------------------------------------------------------------------------------------------------

    def edge(self, signed) -> np.ndarray:
        """Coverage [n, n] of the side where `signed` (unit lengths) is positive, antialiased over a pixel."""
        return np.clip(signed * self.n + 0.5, 0, 1)

    def blend(self, cover, colour, where=(slice(None),)):
        """Lay `colour` [h, w, 3] over the picture with coverage [h, w]."""
        target = self.image[where]
        target += np.asarray(cover, np.float32)[..., None] * (colour - target)

    def mark(self, mask, label: int, where=(slice(None),), part=False):
        """Give the masked pixels their label; `part` also outlines them in the sketch."""
        self.labels[where][mask] = label
        if part or label in (SUN, MOON, CLOUD, SNOW):
            self.parts[where][mask] = self.parts.max() + 1

    def outline(self) -> np.ndarray:
        """Line sketch [n, n], 0 = ink, 1 = paper: where one part of the scene meets another."""
        parts = self.parts
        ink = np.zeros(parts.shape, bool)
        ink[1:] |= parts[1:] != parts[:-1]
        ink[:, 1:] |= parts[:, 1:] != parts[:, :-1]
        for _ in range(self.n // 128 - 1):  # as broad a pen at every size
            ink[1:] |= ink[:-1].copy()
            ink[:, 1:] |= ink[:, :-1].copy()
        return 1.0 - ink

    def reduced(self) -> np.ndarray:
        """The picture so far [size, size, 3]; values may lie outside of 0..1."""
        size, k = self.world.size, SUPERSAMPLE
        return self.image.reshape(size, k, size, k, 3).mean((1, 3))

    def finish(self, seed: int) -> Scene:
        size, k = self.world.size, SUPERSAMPLE
        small = self.reduced()
        small = small + self.rng.normal(0, 0.006, (size, size, 1))
        image = (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)
        paper = self.outline().reshape(size, k, size, k).mean((1, 3))
        sketch = (np.clip(paper * 1.25 - 0.25, 0, 1) * 255 + 0.5).astype(np.uint8)
        return Scene(seed, image, self.labels[k - 1 :: k, k - 1 :: k].copy(), sketch, self.caption())

    def caption(self) -> str:
        names = {
            "day": "by day",
            "sunset": "at sunset",
            "dawn": "at dawn",
            "overcast": "under an overcast sky",
            "night": "at night",
        }
        words = list(dict.fromkeys(self.words))
        return f"{', '.join(words)}, {names[self.light.hour]}"
