"""The drawn breeds and the shapes that they are made of, as data.

Shapes are closed polygons [N, 2] measured in head radii from the middle of the head, x to the
right and y downwards; `smooth` and `ellipse` make them.
"""

from dataclasses import dataclass

import numpy as np

RGB = tuple[float, float, float]  # 0 to 255


@dataclass(frozen=True, kw_only=True)
class Breed:
    """How the dogs of one breed look, and where they are photographed. Colours are RGB.

    `ears` is a key of `EARS`; `markings` are keys of `MARKINGS`, or `dots`, and are drawn in
    `second`. `head` and `muzzle` are half widths and half heights in head radii, and `fluff` is how
    far the tufts stand out of the outline. `sky` fades to `haze`, also where both are of a wall.
    """

    wnid: str
    name: str
    ears: str
    markings: tuple[str, ...]
    head: tuple[float, float] = (1.0, 0.95)
    muzzle: tuple[float, float] = (0.46, 0.4)
    fluff: float = 0.02
    coat: RGB
    second: RGB
    snout: RGB
    ear: RGB
    iris: RGB = (92, 56, 28)
    sky: RGB
    haze: RGB
    ground: RGB
    blobs: RGB

    @property
    def folder(self) -> str:
        """The name of the breed's folder, `<wnid>-<name>`."""
        return f"{self.wnid}-{self.name}"


# Of each breed its shape, its colours and its scene.
# fmt: off
BREEDS: tuple[Breed, ...] = (
    Breed(wnid="n99000001", name="Dotted_setter", ears="floppy",  # on a lawn
          markings=("dots",),
          coat=(240, 238, 232), second=(38, 36, 40), snout=(246, 242, 236), ear=(42, 40, 44),
          sky=(126, 178, 226), haze=(198, 220, 224), ground=(98, 150, 66), blobs=(62, 108, 58)),
    Breed(wnid="n99000002", name="Copper_spitz", ears="pointed",  # in a forest
          markings=("bib", "cheeks"), muzzle=(0.4, 0.36), fluff=0.045,
          coat=(222, 130, 52), second=(250, 222, 180), snout=(250, 226, 190), ear=(206, 112, 42),
          sky=(40, 70, 56), haze=(88, 122, 84), ground=(86, 88, 54), blobs=(146, 170, 96)),
    Breed(wnid="n99000003", name="Inky_shepherd", ears="pointed",  # on a beach at dusk
          markings=("brows", "cheeks", "bib", "socks"), head=(0.95, 0.97), muzzle=(0.42, 0.46),
          coat=(50, 46, 50), second=(190, 118, 60), snout=(184, 116, 62), ear=(40, 36, 40),
          sky=(168, 150, 206), haze=(246, 208, 184), ground=(222, 196, 152), blobs=(250, 230, 220)),
    Breed(wnid="n99000004", name="Honey_retriever", ears="floppy",  # on a lake's shore
          markings=("bib",), muzzle=(0.5, 0.44), fluff=0.03,
          coat=(228, 184, 112), second=(244, 214, 156), snout=(242, 210, 152), ear=(200, 148, 78),
          sky=(70, 112, 160), haze=(120, 166, 190), ground=(128, 124, 112), blobs=(58, 92, 92)),
    Breed(wnid="n99000005", name="Slate_husky", ears="pointed", iris=(86, 166, 226),  # in snow
          markings=("goggles", "bib", "socks"), fluff=0.035,
          coat=(90, 101, 120), second=(246, 247, 250), snout=(248, 248, 250), ear=(70, 79, 96),
          sky=(168, 190, 216), haze=(220, 230, 240), ground=(234, 239, 246), blobs=(104, 128, 132)),
    Breed(wnid="n99000006", name="Biscuit_pug", ears="folded",  # in a room
          markings=("shades",), head=(1.06, 0.95), muzzle=(0.56, 0.36),
          coat=(224, 192, 148), second=(64, 52, 48), snout=(62, 50, 48), ear=(50, 42, 42),
          sky=(112, 58, 70), haze=(140, 80, 88), ground=(76, 98, 128), blobs=(176, 112, 104)),
    Breed(wnid="n99000007", name="Cocoa_spaniel", ears="long",  # in a meadow in flower
          markings=("blaze", "bib", "socks"), fluff=0.03,
          coat=(122, 70, 42), second=(246, 240, 230), snout=(246, 240, 230), ear=(94, 50, 30),
          sky=(160, 204, 196), haze=(206, 224, 184), ground=(140, 178, 86), blobs=(242, 222, 96)),
    Breed(wnid="n99000008", name="Patchwork_hound", ears="folded",  # in a street
          markings=("patch", "saddle"), muzzle=(0.44, 0.42),
          coat=(246, 238, 226), second=(188, 106, 50), snout=(248, 242, 234), ear=(166, 90, 42),
          sky=(104, 98, 106), haze=(156, 132, 122), ground=(122, 122, 128), blobs=(84, 74, 88)),
)
# fmt: on


def ellipse(x: float, y: float, rx: float, ry: float, power: float = 2.0) -> np.ndarray:
    """[48, 2]: a superellipse; `power` above 2 makes it boxier."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.sign(unit) * np.abs(unit) ** (2 / power) * (rx, ry) + (x, y)


def smooth(*corners: tuple[float, float]) -> np.ndarray:
    """[8 * corners, 2]: the closed Catmull-Rom curve through `corners`."""
    p1 = np.array(corners, dtype=float)
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    curve = 2 * p1 + t * (p2 - p0) + t**2 * (2 * p0 - 5 * p1 + 4 * p2 - p3)
    curve = (curve + t**3 * (3 * p1 - p0 - 3 * p2 + p3)) / 2
    return curve.transpose(1, 0, 2).reshape(-1, 2)


# The right ear of each kind, and what shows of its inside; the left one is its mirror image.
EARS = {
    "pointed": smooth((0.22, -0.72), (0.5, -1.18), (0.84, -1.52), (0.98, -1.0), (0.93, -0.3)),
    "floppy": smooth(
        (0.5, -0.86), (0.94, -0.72), (1.28, -0.1), (1.2, 0.46), (0.88, 0.38), (0.76, -0.3)
    ),
    "long": smooth((0.5, -0.8), (0.98, -0.6), (1.34, 0.2), (1.24, 1.02), (0.84, 0.9), (0.78, -0.2)),
    "folded": smooth((0.36, -0.88), (0.86, -0.94), (1.14, -0.62), (1.06, -0.1), (0.76, -0.42)),
}
EAR_INSIDES = {
    "pointed": smooth((0.45, -0.8), (0.62, -1.12), (0.8, -1.32), (0.85, -0.9), (0.8, -0.55)),
}

# Torso, haunches, legs and paws, far to near.
BODY = (
    smooth((-0.5, 0.5), (0.5, 0.5), (0.72, 1.2), (0.8, 1.9), (-0.8, 1.9), (-0.72, 1.2)),
    *(ellipse(x, 1.66, 0.36, 0.36) for x in (-0.66, 0.66)),
    *(ellipse(x, 1.5, 0.23, 0.56, 3) for x in (-0.3, 0.3)),
    *(ellipse(x, 1.96, 0.26, 0.16) for x in (-0.72, 0.72, -0.31, 0.31)),
)
BLAZE = smooth((0, -1.1), (0.16, -0.5), (0.3, 0.3), (0, 0.9), (-0.3, 0.3), (-0.16, -0.5))

# Markings by the part that they lie on.
MARKINGS = {
    "head": {
        "blaze": [BLAZE],
        "brows": [ellipse(x, -0.42, 0.12, 0.09) for x in (-0.36, 0.36)],
        "cheeks": [ellipse(x, 0.5, 0.4, 0.5) for x in (-0.62, 0.62)],
        "goggles": [
            *(ellipse(x, -0.12, 0.3, 0.42) for x in (-0.4, 0.4)),
            ellipse(0, 0.66, 0.95, 0.6),
            ellipse(0, -0.05, 0.13, 0.6),
        ],
        "shades": [ellipse(x, -0.1, 0.28, 0.26) for x in (-0.42, 0.42)],
        "patch": [ellipse(0.52, -0.3, 0.5, 0.66)],
    },
    "body": {
        "bib": [ellipse(0, 1.12, 0.42, 0.6)],
        "socks": [ellipse(x, 1.86, 0.26, 0.28) for x in (-0.3, 0.3)],
        "saddle": [ellipse(0.62, 1.28, 0.42, 0.5), ellipse(-0.74, 1.74, 0.3, 0.3)],
    },
}
