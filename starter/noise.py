"""Smooth random fields for the starter world, the same at every picture size.

A field is a random lattice in unit coordinates, so that one seed gives one composition whether it is rendered at 64 or
at 512 pixels: finer pictures only see the same field more finely.
"""

from __future__ import annotations

import numpy as np


class Field:
    """Samples fractal noise on an n x n grid (or along n points); holds the interpolation matrices of that grid."""

    def __init__(self, n: int):
        self.n = n
        self.bases: dict[int, np.ndarray] = {}

    def basis(self, cells: int) -> np.ndarray:
        """[n, cells + 1] quintic interpolation from a lattice of `cells` cells to the n pixel centres."""
        if cells not in self.bases:
            at = (np.arange(self.n) + 0.5) / self.n * cells
            low = np.minimum(at.astype(int), cells - 1)
            frac = at - low
            weight = frac**3 * (frac * (frac * 6 - 15) + 10)
            matrix = np.zeros((self.n, cells + 1), np.float32)
            matrix[np.arange(self.n), low] = 1 - weight
            matrix[np.arange(self.n), low + 1] += weight
            self.bases[cells] = matrix
        return self.bases[cells]

    def line(self, rng, cells: int, octaves: int, gain=0.5, ridged=False) -> np.ndarray:
        """Fractal noise along x: [n], about -1..1 (ridged: 0..1 with sharp crests)."""
        total, norm, amount = np.zeros(self.n, np.float32), 0.0, 1.0
        for octave in range(octaves):
            count = cells << octave
            value = self.basis(count) @ rng.uniform(-1, 1, count + 1).astype(np.float32)
            total += amount * (1 - 2 * np.abs(value) if ridged else value)
            norm += amount
            amount *= gain
        return total / norm

    def plane(self, rng, rows: int, columns: int, octaves: int, gain=0.5, ridged=False) -> np.ndarray:
        """Fractal noise over the picture: [n, n], about -1..1; `rows` by `columns` are the coarsest cells."""
        total, norm, amount = np.zeros((self.n, self.n), np.float32), 0.0, 1.0
        for octave in range(octaves):
            down, across = rows << octave, columns << octave
            lattice = rng.uniform(-1, 1, (down + 1, across + 1)).astype(np.float32)
            value = self.basis(down) @ (lattice @ self.basis(across).T)
            total += amount * (1 - 2 * np.abs(value) if ridged else value)
            norm += amount
            amount *= gain
        return total / norm


def smoothstep(low, high, value):
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
