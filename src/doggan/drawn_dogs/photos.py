"""The demonstration's data: drawn photos of dogs with annotations, in Stanford's layout.

Nothing here is a real photo. Every dog is drawn by `draw_dog`, put into a scene, and then
"photographed": exposure, colour cast, blur, sensor noise, JPEG. The ids (n990000..) are none of
ImageNet's.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from doggan.competition import STANFORD_FOLDERS
from doggan.drawn_dogs.breeds import BREEDS, Breed
from doggan.drawn_dogs.dog import Box, bounding_box, draw_dog
from doggan.support.errors import InputError
from doggan.support.files import atomic_folder

_JPEG_QUALITY = 90
_SHORTEST, _LONGEST = 160, 320  # side of a photo, in pixels
_DOGS_SHARE = (0.72, 0.2, 0.08)  # of the photos with one, two and three dogs
_CUT_SHARE = 0.2  # of the dogs, those that the frame's lower edge cuts
_OWN = re.compile(rf"({'|'.join(STANFORD_FOLDERS)})(/(n990000\d\d)-\w+(/\3_\d+(\.jpg)?)?)?")


@dataclass(frozen=True, kw_only=True)
class SampleDogs:
    """What was drawn, and where."""

    folder: Path
    photos: int
    dogs: int
    breeds: int


def draw_sample_dogs(out: Path | str, *, photos: int = 400, seed: int = 0) -> SampleDogs:
    """Draws `photos` dog photos and their annotations into the folder `out`.

    The layout is Stanford's: `Images/<wnid-breed>/<wnid>_<number>.jpg` and the annotation
    `Annotation/<wnid-breed>/<wnid>_<number>`. Breeds take turns, so any count is balanced. A photo
    depends on `seed` and its place alone: the same bytes each time (with one Pillow version), and
    fewer photos are the first of more. An earlier sample at `out` is replaced.

    Raises InputError where `out` holds anything else, or for a count below 1 or a seed below 0,
    and DogganError where `out` cannot be written.
    """
    out = Path(out)
    if photos < 1 or seed < 0:
        raise InputError(f"{photos} photos with seed {seed}: expected at least 1 photo, seed 0 up")
    _refuse_foreign(out)
    dogs = 0
    with atomic_folder(out) as folder:
        for index in range(photos):
            breed, number = BREEDS[index % len(BREEDS)], index // len(BREEDS) + 1
            dogs += _write_photo(folder, breed, number, np.random.default_rng([seed, index]))
    return SampleDogs(folder=out, photos=photos, dogs=dogs, breeds=min(photos, len(BREEDS)))


def _refuse_foreign(out: Path) -> None:
    # The folder is swapped for the new one: nothing of the user's may be in it.
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a new or empty folder for the drawn dogs")
    names = (path.relative_to(out).as_posix() for path in out.rglob("*"))
    name = next((name for name in names if not _OWN.fullmatch(name)), None)
    if name:
        raise InputError(f"{out} holds {name}, which is no drawn dog; name a new or empty folder")


def _write_photo(folder: Path, breed: Breed, number: int, rng: np.random.Generator) -> int:
    """Draws one photo of `breed` and writes it with its annotation; the number of its dogs."""
    photo_id = f"{breed.wnid}_{number}"
    pixels, boxes = draw_photo(breed, rng)
    images, annotations = (folder / name / breed.folder for name in STANFORD_FOLDERS)
    for place in (images, annotations):
        place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(images / f"{photo_id}.jpg", "JPEG", quality=_JPEG_QUALITY)
    xml = annotation_xml(breed, photo_id, pixels.shape[1], pixels.shape[0], boxes)
    (annotations / photo_id).write_bytes(xml.encode("utf-8"))
    return len(boxes)


def draw_photo(breed: Breed, rng: np.random.Generator) -> tuple[np.ndarray, list[Box]]:
    """One photo of one to three dogs: [H, W, 3] uint8, and the box of what shows of each dog."""
    count = int(rng.choice([1, 2, 3], p=_DOGS_SHARE))
    width = int(rng.integers(max(_SHORTEST, 95 * count), _LONGEST + 1))
    height = int(rng.integers(_SHORTEST, _LONGEST + 1))
    light = float(rng.uniform(-0.8, 0.8))
    frame = _draw_scene(breed, width, height, rng)
    owner = np.full((height, width), -1)  # the dog that shows in each pixel
    for index, slot in enumerate(rng.permutation(count)):
        middle = (slot + 0.5 + rng.uniform(-0.08, 0.08)) * width / count
        # A dog is about 2.6 head radii wide and at most 3.7 high.
        radius = min(width / count / 2.7, height / 3.8) * rng.uniform(0.82, 1.0)
        dog = draw_dog(breed, radius, rng, light)
        if rng.random() < _CUT_SHARE:
            bottom = height + rng.uniform(0.15, 0.4) * radius
        else:
            bottom = height - rng.uniform(0.02, 0.3) * max(2, height - dog.shape[0])
        left, top = round(middle - dog.shape[1] / 2), max(1, round(bottom) - dog.shape[0])
        _cast_shadow(frame, middle, top + dog.shape[0], radius)
        _paste(frame, owner, dog, left, top, index)
    return _photograph(frame, rng), [bounding_box(owner == index) for index in range(count)]


def _draw_scene(breed: Breed, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """[height, width, 3] float32 in [0, 255]: the breed's background, out of focus."""
    horizon = round(height * rng.uniform(0.5, 0.75))
    fade = np.linspace(0, 1, horizon)[:, None]
    sky = np.array(breed.sky) * (1 - fade) + np.array(breed.haze) * fade
    ground = np.linspace(0.85, 1.1, height - horizon)[:, None] * breed.ground
    column = np.concatenate([sky, ground])[:, None].clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(np.repeat(column, width, axis=1))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(4, 9)):
        x, y = rng.uniform(0, width), rng.uniform(0.2, 1.0) * horizon
        size = rng.uniform(0.05, 0.14) * height
        draw.ellipse((x - size, y - size, x + size, y + size), fill=breed.blobs)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(5, 10)))
    mottle = rng.normal(0, 1, (height // 8 + 2, width // 16 + 2)).astype(np.float32)
    mottle = Image.fromarray(mottle).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.float32) + 7 * np.asarray(mottle)[..., None]


def _cast_shadow(frame: np.ndarray, middle: float, bottom: float, radius: float) -> None:
    """Darkens `frame` [H, W, 3] where a dog sits."""
    shadow = Image.new("L", frame.shape[1::-1])
    width, height = 1.3 * radius, 0.22 * radius
    corners = (middle - width, bottom - 1.6 * height, middle + width, bottom + 0.6 * height)
    ImageDraw.Draw(shadow).ellipse(corners, fill=110)
    shadow = shadow.filter(ImageFilter.GaussianBlur(0.12 * radius))
    frame *= 1 - np.asarray(shadow, np.float32)[..., None] / 255


def _paste(
    frame: np.ndarray, owner: np.ndarray, dog: np.ndarray, left: int, top: int, index: int
) -> None:
    """Lays `dog` [h, w, 4] on `frame` and enters `index` into `owner` where the dog shows."""
    window = np.s_[top : top + dog.shape[0], max(0, left) : left + dog.shape[1]]
    under = frame[window]
    seen = dog[:, max(0, -left) :][: under.shape[0], : under.shape[1]]
    under += seen[..., 3:].astype(np.float32) / 255 * (seen[..., :3] - under)
    owner[window][seen[..., 3] >= 128] = index


def _photograph(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[H, W, 3] uint8: `frame` with a camera's exposure, colour cast, blur and noise."""
    cast = rng.uniform(0.88, 1.1) * rng.normal(1, 0.025, 3)
    exposed = Image.fromarray((frame * cast).clip(0, 255).astype(np.uint8))
    blurred = exposed.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.7)))
    grain = rng.standard_normal(frame.shape, np.float32) * rng.uniform(0.5, 3.0)
    return (np.asarray(blurred) + grain).round().clip(0, 255).astype(np.uint8)


def annotation_xml(breed: Breed, photo_id: str, width: int, height: int, boxes: list[Box]) -> str:
    """The annotation of a photo of `width` x `height` pixels, tag for tag as Stanford writes it."""
    dogs = "".join(
        f"\t<object>\n\t\t<name>{breed.name}</name>\n\t\t<pose>Unspecified</pose>\n"
        f"\t\t<truncated>{int(bottom == height)}</truncated>\n\t\t<difficult>0</difficult>\n"
        f"\t\t<bndbox>\n\t\t\t<xmin>{left}</xmin>\n\t\t\t<ymin>{top}</ymin>\n"
        f"\t\t\t<xmax>{right}</xmax>\n\t\t\t<ymax>{bottom}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for left, top, right, bottom in boxes
    )
    return (
        f"<annotation>\n\t<folder>{breed.wnid[1:]}</folder>\n\t<filename>{photo_id}</filename>\n"
        "\t<source>\n\t\t<database>Drawn by doggan</database>\n\t</source>\n"
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n"
        f"\t\t<depth>3</depth>\n\t</size>\n\t<segment>0</segment>\n{dogs}</annotation>\n"
    )
