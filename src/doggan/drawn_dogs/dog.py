"""One drawn dog: it sits, faces the camera, and comes with the exact outline of what was drawn.

Shapes are polygons measured in head radii, from the middle of the head, y downwards; a pose turns
them into pixels. Each is filled at `_SUPERSAMPLING` times the final size and reduced, and then
shaded as if its outline had been inflated, with light from above.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from doggan.drawn_dogs.breeds import (
    BODY,
    EARS,
    MARKINGS,
    MUZZLE_Y,
    NOSE,
    RGB,
    Breed,
    ellipse,
    smooth,
)

_SUPERSAMPLING = 3
# What a dog needs around the middle of its head, in head radii: left and right, above, below.
_SIDE, _ABOVE, _BELOW = 1.75, 1.85, 2.35
_NECK = 0.8  # how far below its middle the head leans about
_BLACK, _WHITE = (24, 20, 22), (250, 248, 244)
_PINK, _FLESH, _BRASS = (226, 112, 122), (206, 148, 138), (232, 196, 84)
_COLLARS: tuple[RGB, ...] = ((198, 48, 48), (44, 96, 190), (236, 178, 40), (58, 148, 84))


@dataclass(frozen=True)
class _Mask:
    """How much of each pixel a shape covers, in [0, 1], in the window of the canvas it lies in."""

    window: tuple[slice, slice]
    cover: np.ndarray  # float32, as large as the window

    def within(self, other: np.ndarray) -> "_Mask":
        """The mask, kept to where `other` [H, W], as large as the canvas, lets it through."""
        return _Mask(self.window, self.cover * other[self.window])


class _Canvas:
    """Premultiplied colour [H, W, 3] in [0, 255] and coverage [H, W] in [0, 1], both float32."""

    def __init__(self, height: int, width: int, rng: np.random.Generator, light: float):
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.light = light
        # Hair: noise that runs downwards.
        hair = rng.normal(size=(height // 3 + 1, width)).astype(np.float32)
        self.fur = np.repeat(hair, 3, axis=0)[:height]

    def mask(self, *shapes: np.ndarray, soft: float = 0.0) -> _Mask:
        """What lies within any of `shapes` ([N, 2] pixels), edges blurred by `soft` pixels."""
        corners, pad = np.concatenate(shapes), 2 + int(3 * soft)
        limits = self.alpha.shape[::-1]
        left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - pad, 0, limits)
        right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + pad, 0, limits)
        size = ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING)
        picture = Image.new("L", size)
        draw = ImageDraw.Draw(picture)
        for shape in shapes:
            draw.polygon(((shape - (left, top)) * _SUPERSAMPLING).ravel().tolist(), fill=255)
        picture = picture.reduce(_SUPERSAMPLING)
        if soft:
            picture = picture.filter(ImageFilter.GaussianBlur(soft))
        window = (slice(top, bottom), slice(left, right))
        return _Mask(window, np.asarray(picture, np.float32) / 255)

    def fill(self, mask: _Mask, colour: RGB, opacity: float = 1.0) -> None:
        """Lays `colour` over what is there, as much as `mask` and `opacity` say."""
        cover = mask.cover * opacity
        rgb, alpha = self.rgb[mask.window], self.alpha[mask.window]
        rgb += cover[..., None] * (np.array(colour, np.float32) - rgb)
        alpha += cover * (1 - alpha)

    def shade(self, mask: _Mask, radius: float, hair: float) -> None:
        """Lights the part under `mask` as if inflated with rounded edges of `radius` pixels."""
        picture = Image.fromarray((mask.cover * 255).astype(np.uint8))
        picture = picture.filter(ImageFilter.GaussianBlur(radius))
        relief = np.asarray(picture, np.float32) / 255
        down, right = np.gradient(relief)
        lit = 1.1 * radius * (0.8 * down - self.light * right) - 0.45 * (1 - relief)
        lit = 1 + mask.cover * (lit + 0.06 + hair * self.fur[mask.window])
        rgb, alpha = self.rgb[mask.window], self.alpha[mask.window]
        np.clip(rgb * lit[..., None], 0, 255 * alpha[..., None], out=rgb)

    def pixels(self) -> np.ndarray:
        """[H, W, 4] uint8: straight colour and coverage."""
        alpha = self.alpha[..., None]
        straight = np.concatenate([self.rgb / np.maximum(alpha, 1e-6), 255 * alpha], axis=2)
        return straight.round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class _Pose:
    """From head radii to pixels: `turn` looks aside, `tilt` (radians) leans the head."""

    radius: float
    tilt: float
    turn: float
    flip: bool

    def body(self, points: np.ndarray) -> np.ndarray:
        """Pixels of `points` that sit still."""
        points = points * (-1, 1) if self.flip else points
        return (points + np.array([_SIDE, _ABOVE])) * self.radius

    def head(self, points: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """Pixels of `points` on the head; those nearer the camera (`depth`) turn farther."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        about_neck = points + np.array([self.turn * depth, -_NECK])
        return self.body(about_neck @ np.array([[cos, sin], [-sin, cos]]) + np.array([0, _NECK]))


class _Dog:
    """Draws one dog part by part, far to near; see `draw_dog`."""

    def __init__(self, breed: Breed, radius: float, rng: np.random.Generator, light: float):
        self.breed, self.radius, self.rng = breed, radius, rng
        height, width = int((_ABOVE + _BELOW) * radius), int(2 * _SIDE * radius)
        self.canvas = _Canvas(height, width, rng, light)
        self.pose = _Pose(
            radius=radius,
            tilt=rng.uniform(-0.13, 0.13),
            turn=rng.uniform(-1, 1),
            flip=bool(rng.random() < 0.5),
        )
        tone = rng.normal(1, 0.05) + rng.normal(0, 0.015, 3)
        self.coat, self.second, self.snout, self.ear = (
            tuple(np.clip(np.array(colour) * tone, 0, 255))
            for colour in (breed.coat, breed.second, breed.snout, breed.ear)
        )

    def draw(self) -> np.ndarray:
        """[H, W, 4] uint8, the whole canvas."""
        self._draw_body()
        if self.breed.ears == "pointed":
            self._draw_ears()
        self._draw_head()
        if self.breed.ears != "pointed":
            self._draw_ears()
        self._draw_muzzle()
        self._draw_nose()
        self._draw_eyes()
        return self.canvas.pixels()

    def _tufts(self, points: np.ndarray) -> np.ndarray:
        """`points` [N, 2] in head radii with the coat's tufts standing out of the outline."""
        dense = np.stack([points, (points + np.roll(points, -1, axis=0)) / 2], axis=1).reshape(
            -1, 2
        )
        out = dense - dense.mean(axis=0)
        out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-6
        return dense + out * self.rng.normal(0, self.breed.fluff, (len(dense), 1))

    def _part(
        self, shape: np.ndarray, colour: RGB, edge: float, markings: np.ndarray | None = None
    ) -> None:
        """Fills `shape` (pixels), lays `markings` [H, W] on it, rounds its edge by `edge` radii."""
        mask = self.canvas.mask(shape)
        self.canvas.fill(mask, colour)
        if markings is not None:
            self.canvas.fill(mask.within(markings), self.second)
        self.canvas.shade(mask, edge * self.radius, 0.02 + self.breed.fluff)

    def _flat(
        self, *shapes: np.ndarray, colour: RGB, soft: float = 0.0, opacity: float = 1.0
    ) -> None:
        """Fills `shapes` (pixels) without shading, their edges blurred by `soft` head radii."""
        mask = self.canvas.mask(*shapes, soft=soft * self.radius)
        self.canvas.fill(mask.within(self.canvas.alpha), colour, opacity)

    def _markings(self, part: str) -> np.ndarray:
        """[H, W]: where the breed's markings lie on `part`."""
        place = self.pose.head if part == "head" else self.pose.body
        shapes = [shape for name in self.breed.markings for shape in MARKINGS[part].get(name, ())]
        if "dots" in self.breed.markings:
            low, high = (-0.95, 0.9) if part == "head" else (0.8, 2.0)
            shapes += [self._dot(low, high) for _ in range(22)]
        whole = np.zeros_like(self.canvas.alpha)
        if shapes:
            shapes = [place(self._tufts(shape)) for shape in shapes]
            mask = self.canvas.mask(*shapes, soft=0.04 * self.radius)
            whole[mask.window] = mask.cover
        return whole

    def _dot(self, low: float, high: float) -> np.ndarray:
        x, y = self.rng.uniform((-0.95, low), (0.95, high))
        rx, ry = self.rng.uniform(0.05, 0.13, 2)
        return ellipse(x, y, rx, ry)

    def _draw_body(self) -> None:
        place, markings = self.pose.body, self._markings("body")
        wag = self.rng.uniform(-0.1, 0.12)
        tail = smooth((0.6, 1.9), (0.95, 1.6), (1.0 + wag, 1.0), (1.22 + wag, 1.1), (1.15, 1.75))
        self._part(place(self._tufts(tail)), self.coat, 0.12)
        for shape in BODY:
            self._part(place(self._tufts(shape)), self.coat, 0.16, markings)
        toes = [place(ellipse(x, 2.02, 0.018, 0.07)) for x in (-0.39, -0.23, 0.23, 0.39)]
        self._flat(*toes, colour=_BLACK, soft=0.02, opacity=0.6)
        if self.rng.random() < 0.6:
            self._draw_collar()
        # The head's shadow on the chest.
        shadow = self.pose.head(ellipse(0, 0.5, 0.85, 0.62))
        self._flat(shadow, colour=_BLACK, soft=0.1, opacity=0.4)

    def _draw_collar(self) -> None:
        colour = _COLLARS[self.rng.integers(len(_COLLARS))]
        band = smooth((-0.62, 0.8), (0, 1.02), (0.62, 0.8), (0.6, 0.98), (0, 1.2), (-0.6, 0.98))
        self._part(self.pose.body(band), colour, 0.06)
        self._part(self.pose.body(ellipse(0, 1.24, 0.11, 0.11)), _BRASS, 0.05)

    def _draw_ears(self) -> None:
        outer, inner = EARS[self.breed.ears]
        for side in (-1, 1):
            # Each ear has its own perk.
            scale = (side * self.breed.head[0], self.rng.uniform(0.93, 1.05))
            self._part(self.pose.head(self._tufts(outer * scale), -0.05), self.ear, 0.12)
            if inner is not None:
                inside = self.pose.head(inner * scale, -0.05)
                self._flat(inside, colour=_FLESH, soft=0.05, opacity=0.7)

    def _draw_head(self) -> None:
        outline = self._tufts(ellipse(0, 0, *self.breed.head, 2.25))
        self._part(self.pose.head(outline), self.coat, 0.3, self._markings("head"))

    def _draw_muzzle(self) -> None:
        (rx, ry), y, place = self.breed.muzzle, MUZZLE_Y, self.pose.head
        if self.rng.random() < 0.45:
            tongue = smooth((-0.15, y + ry - 0.1), (0.15, y + ry - 0.1), (0, y + ry + 0.3))
            self._part(place(tongue, 0.16), _PINK, 0.06)
        self._part(place(self._tufts(ellipse(0, y, rx, ry, 2.2)), 0.14), self.snout, 0.16)
        lip = smooth((0, y + 0.08), (0.12, y + 0.22), (rx * 0.72, y + 0.1), (0.13, y + 0.27))
        lines = (lip, lip * (-1, 1), ellipse(0, y + 0.02, 0.022, 0.16))
        dark = tuple(0.35 * value for value in self.snout)
        self._flat(*(place(line, 0.17) for line in lines), colour=dark, soft=0.015)

    def _draw_nose(self) -> None:
        self._part(self.pose.head(NOSE, 0.2), _BLACK, 0.05)
        gleam = ellipse(-0.06, MUZZLE_Y - 0.28, 0.07, 0.03)
        self._flat(self.pose.head(gleam, 0.2), colour=_WHITE, soft=0.02, opacity=0.7)

    def _draw_eyes(self) -> None:
        size = 0.165 * self.rng.uniform(0.93, 1.07)
        for scale, colour in ((1.22, _BLACK), (1.0, self.breed.iris), (0.68, _BLACK)):
            radii = (size * scale, size * scale)
            eyes = (self.pose.head(ellipse(x, -0.12, *radii), 0.1) for x in (-0.4, 0.4))
            self._flat(*eyes, colour=colour)
        gleams = (self.pose.head(ellipse(x, -0.18, 0.055, 0.055), 0.1) for x in (-0.45, 0.35))
        self._flat(*gleams, colour=_WHITE)


def draw_dog(breed: Breed, radius: float, rng: np.random.Generator, light: float) -> np.ndarray:
    """Draws a dog of `breed` whose head has a radius of `radius` pixels.

    Returns [H, W, 4] uint8, colour and coverage, cut to the dog: every side has a pixel that the
    dog covers by half or more. `light` is where the light stands, -1 on the left to 1 on the right.
    """
    picture = _Dog(breed, radius, rng, light).draw()
    covered = picture[..., 3] >= 128
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
