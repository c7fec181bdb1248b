"""Tileable patterns in [0, 1] that mix a surface's two colours, with their mip levels for antialiasing.

Each pattern is a function of (u, v) in [0, 1)^2; a texture is its picture of `SIZE` pixels and all halvings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from phys4d.errors import Registry

SIZE = 256

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
PATTERNS: Registry[Pattern] = Registry("texture")


@functools.cache
def texture_names() -> tuple[str, ...]:
    """All textures in a fixed order; a surface refers to its own by index."""
    return tuple(sorted(PATTERNS))


@functools.cache
def texture_stack() -> np.ndarray:
    """(N, texels) float32: for every texture its mip levels from fine to coarse, flattened one after another."""
    v, u = np.meshgrid(*(np.arange(SIZE) + 0.5,) * 2, indexing="ij")
    stack = []
    for name in texture_names():
        level = np.clip(PATTERNS[name](u / SIZE, v / SIZE), 0, 1).astype(np.float32)
        levels = [level]
        while len(level) > 1:
            level = level.reshape(len(level) // 2, 2, -1, 2).mean(axis=(1, 3))
            levels.append(level)
        stack.append(np.concatenate([each.reshape(-1) for each in levels]))
    return np.stack(stack)


@PATTERNS.register("plain")
def plain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Nearly one colour, with the slight unevenness that every real surface has."""
    return 0.12 * _noise(8, seed=1)


@PATTERNS.register("checker")
def checker(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return ((np.floor(2 * u) + np.floor(2 * v)) % 2) * 0.94 + 0.03


@PATTERNS.register("stripes")
def stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _edge((v * 3) % 1.0, 0.36)


@PATTERNS.register("rings")
def rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Brushed metal with a broad dark band."""
    brushed = ndimage.gaussian_filter1d(_noise(64, seed=2), 6, axis=1, mode="wrap")
    return np.clip(0.8 * _edge((v * 2) % 1.0, 0.25) + 0.35 * (brushed - 0.5), 0, 1)


@PATTERNS.register("dots")
def dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = (u * 3) % 1.0 - 0.5, (v * 3) % 1.0 - 0.5
    return np.clip((0.3 - np.hypot(x, y)) * 40 + 0.5, 0, 1)


@PATTERNS.register("wood")
def wood(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    grain = v * 9 + 1.3 * _noise(4, seed=3) + 0.25 * _noise(32, seed=4)
    return 0.5 + 0.38 * np.sin(2 * np.pi * grain) * (0.5 + 0.5 * _noise(6, seed=5)) + 0.12 * _noise(64, seed=6)


@PATTERNS.register("planks")
def planks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.floor(v * 6).astype(int)
    shade = np.array([0.1, 0.45, 0.25, 0.6, 0.3, 0.5])[row]
    along = (u + np.array([0.0, 0.37, 0.71, 0.18, 0.55, 0.86])[row]) % 1.0
    grain = 0.22 * ndimage.gaussian_filter1d(_noise(64, seed=7), 10, axis=1, mode="wrap")
    seam = np.maximum(_gap((v * 6) % 1.0, 0.05), _gap((along * 2) % 1.0, 0.012))
    return np.maximum(shade * 0.7 + grain, seam)


@PATTERNS.register("tiles")
def tiles(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    grout = np.maximum(_gap((2 * u) % 1.0, 0.04), _gap((2 * v) % 1.0, 0.04))
    cell = (np.floor(2 * u) + 2 * np.floor(2 * v)) % 4
    return np.maximum(0.06 * cell + 0.08 * _noise(16, seed=8), 0.9 * grout)


@PATTERNS.register("brick")
def brick(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.floor(v * 8)
    along = u * 4 + 0.5 * (row % 2)
    mortar = np.maximum(_gap((v * 8) % 1.0, 0.1), _gap(along % 1.0, 0.05))
    shade = 0.35 * np.sin(12.9 * np.floor(along % 4) + 7.1 * row) ** 2
    return np.maximum(shade + 0.1 * _noise(32, seed=9), mortar)


@PATTERNS.register("marble")
def marble(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    veins = np.abs(np.sin(2 * np.pi * (u + v) + 5.0 * _noise(4, seed=10) + 2.0 * _noise(12, seed=11)))
    return (1 - veins) ** 1.5 * 0.9 + 0.2 * _noise(32, seed=12)


@PATTERNS.register("noise")
def noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.5 * _noise(6, seed=13) + 0.3 * _noise(18, seed=14) + 0.2 * _noise(54, seed=15)


@PATTERNS.register("speckle")
def speckle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.clip((_noise(32, seed=16) - 0.55) * 4, 0, 1) * 0.8 + 0.15 * _noise(8, seed=17)


@PATTERNS.register("weave")
def weave(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = u * 8, v * 8
    over = (np.floor(x) + np.floor(y)) % 2
    bulge = np.where(over > 0, np.abs(np.sin(np.pi * x)), np.abs(np.sin(np.pi * y)))
    return np.clip(0.9 - 0.8 * bulge + 0.15 * over, 0, 1)


@functools.cache
def _noise(cells: int, seed: int) -> np.ndarray:
    """Smooth tileable value noise with `cells` bumps across, spread over [0, 1]."""
    lattice = np.random.default_rng(seed).uniform(size=(cells, cells))
    # Wrapped before the spline, so that the picture tiles; half a texel keeps it centred.
    margin = 4
    padded = np.pad(lattice, margin, mode="wrap")
    place = (np.arange(SIZE) + 0.5) / SIZE * cells - 0.5 + margin
    picture = ndimage.map_coordinates(padded, np.stack(np.meshgrid(place, place, indexing="ij")), order=3)
    low, high = np.percentile(picture, (1, 99))
    return np.clip((picture - low) / (high - low), 0, 1)


def _edge(phase: np.ndarray, width: float) -> np.ndarray:
    """1 within the first `width` of each period, with soft borders."""
    return np.clip(np.minimum(phase, width - phase) * 40 + 0.5, 0, 1)


def _gap(phase: np.ndarray, width: float) -> np.ndarray:
    """1 in a narrow gap about each period's border."""
    return np.clip((width - 2 * np.minimum(phase, 1 - phase)) / width * 2, 0, 1)
