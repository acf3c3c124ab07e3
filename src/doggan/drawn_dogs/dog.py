"""One drawn dog: it sits, faces the camera, and comes with the exact outline of what was drawn.

Shapes are polygons measured in head radii, from the middle of the head, y downwards; the dog's pose
turns them into pixels. Each is filled at `_SUPERSAMPLING` times the final size and reduced, and
then shaded as if its outline had been inflated, with light from above.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from doggan.drawn_dogs.breeds import BODY, EAR_INSIDES, EARS, MARKINGS, RGB, Breed, ellipse, smooth

_SUPERSAMPLING = 3
# What a dog needs around the middle of its head, in head radii: left and right, above, below.
_SIDE, _ABOVE, _BELOW = 1.75, 1.85, 2.35
_NECK = 0.8  # how far below its middle the head leans about
_DOTS = {"head": (-0.95, 0.9), "body": (0.8, 2.0)}  # between which heights dots lie
_BLACK, _WHITE = (24, 20, 22), (250, 248, 244)
_PINK, _FLESH, _BRASS = (226, 112, 122), (206, 148, 138), (232, 196, 84)
_COLLARS: tuple[RGB, ...] = ((198, 48, 48), (44, 96, 190), (236, 178, 40), (58, 148, 84))

Window = tuple[slice, slice]  # rows and columns of the canvas
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom excluded


def draw_dog(breed: Breed, radius: float, rng: np.random.Generator, light: float) -> np.ndarray:
    """Draws a dog of `breed` whose head has a radius of `radius` pixels.

    Returns [H, W, 4] uint8, colour and coverage, cut to the dog: every side has a pixel that the
    dog covers by half or more. `light` is where the light stands, -1 on the left to 1 on the right.
    """
    picture = Dog(breed, radius, rng, light).draw()
    left, top, right, bottom = bounding_box(picture[..., 3] >= 128)
    return picture[top:bottom, left:right]


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box around the true pixels of `mask` [H, W]; there must be one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class _Canvas:
    """Premultiplied colour [H, W, 3] in [0, 255] and coverage [H, W] in [0, 1], both float32."""

    def __init__(self, height: int, width: int, rng: np.random.Generator, light: float):
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.light = light
        # Hair: noise that runs downwards.
        hair = rng.normal(size=(height // 3 + 1, width)).astype(np.float32)
        self.fur = np.repeat(hair, 3, axis=0)[:height]

    def mask(self, *shapes: np.ndarray, soft: float = 0.0) -> tuple[Window, np.ndarray]:
        """How much of each pixel `shapes` ([N, 2] pixels) cover, edges blurred by `soft` pixels.

        Returns the window that they lie in, and float32 in [0, 1] as large as that.
        """
        corners, pad = np.concatenate(shapes), 2 + int(3 * soft)
        ends = np.array([np.floor(corners.min(axis=0)) - pad, np.ceil(corners.max(axis=0)) + pad])
        (left, top), (right, bottom) = ends.clip(0, self.alpha.shape[::-1]).astype(int)
        size = ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING)
        picture = Image.new("L", size)
        draw = ImageDraw.Draw(picture)
        for shape in shapes:
            draw.polygon(((shape - (left, top)) * _SUPERSAMPLING).ravel().tolist(), fill=255)
        picture = picture.reduce(_SUPERSAMPLING)
        if soft:
            picture = picture.filter(ImageFilter.GaussianBlur(soft))
        return np.s_[top:bottom, left:right], np.asarray(picture, np.float32) / 255

    def fill(self, window: Window, cover: np.ndarray, colour: RGB) -> None:
        """Lays `colour` over what is in `window`, as much as `cover` says."""
        rgb, alpha = self.rgb[window], self.alpha[window]
        rgb += cover[..., None] * (np.array(colour, np.float32) - rgb)
        alpha += cover * (1 - alpha)

    def shade(self, window: Window, cover: np.ndarray, radius: float, hair: float) -> None:
        """Lights the part under `cover` as if inflated with rounded edges of `radius` pixels."""
        picture = Image.fromarray((cover * 255).astype(np.uint8))
        picture = picture.filter(ImageFilter.GaussianBlur(radius))
        relief = np.asarray(picture, np.float32) / 255
        down, right = np.gradient(relief)
        lit = 1.1 * radius * (0.8 * down - self.light * right) - 0.45 * (1 - relief)
        lit = 1 + cover * (lit + 0.06 + hair * self.fur[window])
        rgb, alpha = self.rgb[window], self.alpha[window]
        np.clip(rgb * lit[..., None], 0, 255 * alpha[..., None], out=rgb)

    def pixels(self) -> np.ndarray:
        """[H, W, 4] uint8: straight colour and coverage."""
        alpha = self.alpha[..., None]
        straight = np.concatenate([self.rgb / np.maximum(alpha, 1e-6), 255 * alpha], axis=2)
        return straight.round().clip(0, 255).astype(np.uint8)


class Dog:
    """Draws one dog part by part, far to near; see `draw_dog`."""

    def __init__(self, breed: Breed, radius: float, rng: np.random.Generator, light: float):
        self.breed, self.radius, self.rng = breed, radius, rng
        height, width = int((_ABOVE + _BELOW) * radius), int(2 * _SIDE * radius)
        self.canvas = _Canvas(height, width, rng, light)
        # The pose: how far the head leans (radians) and looks aside, and which side the tail is on.
        self.tilt, self.turn = rng.uniform(-0.13, 0.13), rng.uniform(-1, 1)
        self.side = -1 if rng.random() < 0.5 else 1
        tone = rng.normal(1, 0.05) + rng.normal(0, 0.015, 3)
        colours = np.array([breed.coat, breed.second, breed.snout, breed.ear]) * tone
        self.coat, self.second, self.snout, self.ear = map(tuple, colours.clip(0, 255))

    def draw(self) -> np.ndarray:
        """[H, W, 4] uint8, the whole canvas."""
        self._draw_body()
        if self.breed.ears == "pointed":
            self._draw_ears()
        self._draw_head()
        if self.breed.ears != "pointed":
            self._draw_ears()
        self._draw_muzzle()
        self._draw_eyes()
        return self.canvas.pixels()

    def _on_body(self, points: np.ndarray) -> np.ndarray:
        """Pixels of `points` [N, 2] that sit still."""
        return (points * (self.side, 1) + (_SIDE, _ABOVE)) * self.radius

    def _on_head(self, points: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """Pixels of `points` on the head; those nearer the camera (`depth`) turn farther."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        about_neck = points + np.array([self.turn * depth, -_NECK])
        return self._on_body(about_neck @ np.array([[cos, sin], [-sin, cos]]) + (0, _NECK))

    def _tufts(self, points: np.ndarray) -> np.ndarray:
        """`points` [N, 2] in head radii with the coat's tufts standing out of the outline."""
        halfway = (points + np.roll(points, -1, axis=0)) / 2
        dense = np.stack([points, halfway], axis=1).reshape(-1, 2)
        out = dense - dense.mean(axis=0)
        out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-6
        return dense + out * self.rng.normal(0, self.breed.fluff, (len(dense), 1))

    def _part(
        self, shape: np.ndarray, colour: RGB, edge: float, markings: np.ndarray | None = None
    ) -> None:
        """Fills `shape` (pixels), lays `markings` [H, W] on it, rounds its edge by `edge` radii."""
        window, cover = self.canvas.mask(shape)
        self.canvas.fill(window, cover, colour)
        if markings is not None:
            self.canvas.fill(window, cover * markings[window], self.second)
        self.canvas.shade(window, cover, edge * self.radius, 0.02 + self.breed.fluff)

    def _flat(self, *shapes: np.ndarray, colour: RGB, soft: float = 0, opacity: float = 1) -> None:
        """Fills `shapes` (pixels) without shading, their edges blurred by `soft` head radii."""
        window, cover = self.canvas.mask(*shapes, soft=soft * self.radius)
        self.canvas.fill(window, cover * self.canvas.alpha[window] * opacity, colour)

    def _markings(self, part: str) -> np.ndarray:
        """[H, W]: where the breed's markings lie on `part`, which is `head` or `body`."""
        place = self._on_head if part == "head" else self._on_body
        shapes = [shape for name in self.breed.markings for shape in MARKINGS[part].get(name, ())]
        if "dots" in self.breed.markings:
            low, high = _DOTS[part]
            for _ in range(22):
                middle = self.rng.uniform((-0.95, low), (0.95, high))
                shapes.append(ellipse(*middle, *self.rng.uniform(0.05, 0.13, 2)))
        markings = np.zeros_like(self.canvas.alpha)
        if shapes:
            shapes = [place(self._tufts(shape)) for shape in shapes]
            window, cover = self.canvas.mask(*shapes, soft=0.04 * self.radius)
            markings[window] = cover
        return markings

    def _draw_body(self) -> None:
        markings = self._markings("body")
        wag = self.rng.uniform(-0.1, 0.12)
        tail = smooth((0.6, 1.9), (0.95, 1.6), (1.0 + wag, 1.0), (1.22 + wag, 1.1), (1.15, 1.75))
        self._part(self._on_body(self._tufts(tail)), self.coat, 0.12)
        for shape in BODY:
            self._part(self._on_body(self._tufts(shape)), self.coat, 0.16, markings)
        toes = (self._on_body(ellipse(x, 2.02, 0.018, 0.07)) for x in (-0.39, -0.23, 0.23, 0.39))
        self._flat(*toes, colour=_BLACK, soft=0.02, opacity=0.6)
        if self.rng.random() < 0.6:  # a collar and its tag
            colour = _COLLARS[self.rng.integers(len(_COLLARS))]
            band = smooth((-0.62, 0.8), (0, 1.02), (0.62, 0.8), (0.6, 0.98), (0, 1.2), (-0.6, 0.98))
            self._part(self._on_body(band), colour, 0.06)
            self._part(self._on_body(ellipse(0, 1.24, 0.11, 0.11)), _BRASS, 0.05)
        # The head's shadow on the chest.
        self._flat(self._on_head(ellipse(0, 0.5, 0.85, 0.62)), colour=_BLACK, soft=0.1, opacity=0.4)

    def _draw_ears(self) -> None:
        inside = EAR_INSIDES.get(self.breed.ears)
        for side in (-1, 1):
            # Each ear has its own perk.
            scale = (side * self.breed.head[0], self.rng.uniform(0.93, 1.05))
            outline = self._tufts(EARS[self.breed.ears] * scale)
            self._part(self._on_head(outline, -0.05), self.ear, 0.12)
            if inside is not None:
                shape = self._on_head(inside * scale, -0.05)
                self._flat(shape, colour=_FLESH, soft=0.05, opacity=0.7)

    def _draw_head(self) -> None:
        outline = self._tufts(ellipse(0, 0, *self.breed.head, 2.25))
        self._part(self._on_head(outline), self.coat, 0.3, self._markings("head"))

    def _draw_muzzle(self) -> None:
        (rx, ry), y = self.breed.muzzle, 0.36
        if self.rng.random() < 0.45:
            tongue = smooth((-0.15, y + ry - 0.1), (0.15, y + ry - 0.1), (0, y + ry + 0.3))
            self._part(self._on_head(tongue, 0.16), _PINK, 0.06)
        outline = self._tufts(ellipse(0, y, rx, ry, 2.2))
        self._part(self._on_head(outline, 0.14), self.snout, 0.16)
        lip = smooth((0, y + 0.08), (0.12, y + 0.22), (rx * 0.72, y + 0.1), (0.13, y + 0.27))
        lines = (lip, lip * (-1, 1), ellipse(0, y + 0.02, 0.022, 0.16))
        dark = tuple(0.35 * value for value in self.snout)
        self._flat(*(self._on_head(line, 0.17) for line in lines), colour=dark, soft=0.015)
        nose = smooth((-0.2, 0.06), (0, 0.01), (0.2, 0.06), (0.12, 0.25), (0, 0.31), (-0.12, 0.25))
        self._part(self._on_head(nose, 0.2), _BLACK, 0.05)
        gleam = ellipse(-0.06, y - 0.28, 0.07, 0.03)
        self._flat(self._on_head(gleam, 0.2), colour=_WHITE, soft=0.02, opacity=0.7)

    def _draw_eyes(self) -> None:
        size = 0.165 * self.rng.uniform(0.93, 1.07)
        iris = self.breed.iris
        for radius, colour in ((1.22 * size, _BLACK), (size, iris), (0.68 * size, _BLACK)):
            eyes = (self._on_head(ellipse(x, -0.12, radius, radius), 0.1) for x in (-0.4, 0.4))
            self._flat(*eyes, colour=colour)
        gleams = (self._on_head(ellipse(x, -0.18, 0.055, 0.055), 0.1) for x in (-0.45, 0.35))
        self._flat(*gleams, colour=_WHITE)
