"""Photos of every kind come out upright and RGB; policies cut where they say."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from conftest import encode
from doggan.data import photos
from doggan.data.archives import UnreadableFileError
from doggan.data.crops import CROPS
from doggan.data.photos import UnusableBoxError, cut, decode_photo, place_boxes, usable_box
from doggan.data.stanford import Annotation, Box
from doggan.recipe import DataRecipe

SIZE = (60, 40)
BOX_LIMITS = DataRecipe(min_box_side_px=10, max_box_aspect=4)


def picture():
    """Left half red, right half blue, a green top edge."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = (200, 0, 0)
    pixels[:, 30:] = (0, 0, 200)
    pixels[:8] = (0, 200, 0)
    return Image.fromarray(pixels)


def difference(a, b):
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (encode(picture(), "PNG"), 0),
        (encode(picture(), "JPEG", quality=95), 6),
        (encode(picture().convert("CMYK"), "JPEG", quality=95), 12),
        (encode(picture().quantize(8), "PNG"), 3),
        (encode(picture().convert("RGBA"), "PNG"), 0),
    ],
    ids=["png", "jpeg", "cmyk", "palette", "rgba"],
)
def test_every_mode_comes_out_as_the_same_rgb(data, tolerance):
    photo, _ = decode_photo(data)
    assert (photo.mode, photo.size) == ("RGB", SIZE)
    assert difference(photo, picture()) <= tolerance


def test_grey_photos_have_three_equal_channels():
    ramp = np.arange(0, 240, 4, dtype=np.uint8)[None].repeat(40, 0)
    for image in (Image.fromarray(ramp), Image.fromarray(ramp.astype(np.uint16) * 257)):
        photo = np.asarray(decode_photo(encode(image, "PNG"))[0])
        assert (photo == ramp[..., None]).all()


def test_transparency_shows_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode_photo(encode(clear, "PNG"))[0].getpixel((0, 0)) == (255, 255, 255)
    assert decode_photo(encode(clear.convert("LA"), "PNG"))[0].getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("stored", [picture(), picture().resize((40, 40))], ids=["wide", "square"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_undone_for_photo_and_box(orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo, found = decode_photo(encode(stored, "PNG", exif=exif))
    assert found == orientation
    assert difference(photo, ImageOps.exif_transpose(decode_raw(stored, exif))) == 0
    # A box drawn on the stored pixels: what it holds must be the same after turning.
    annotation = Annotation(frame=stored.size, boxes=(Box(5, 3, 38, 20), None))
    turned, none = place_boxes(annotation, photo.size, orientation)
    assert none is None
    inside = Image.fromarray(np.asarray(stored)[3:20, 5:38])
    upright = ImageOps.exif_transpose(decode_raw(inside, exif))
    assert photo.crop(turned).size == upright.size
    assert difference(photo.crop(turned), upright) == 0


@pytest.mark.parametrize(
    ("orientation", "placed"),
    [
        (1, Box(10, 5, 30, 20)),
        (2, Box(30, 5, 50, 20)),
        (3, Box(30, 20, 50, 35)),
        (4, Box(10, 20, 30, 35)),
    ],
)
def test_boxes_are_mirrored_and_scaled_together(orientation, placed):
    annotation = Annotation(frame=(120, 80), boxes=(Box(20, 10, 60, 40),))
    assert place_boxes(annotation, (60, 40), orientation) == [placed]


def test_boxes_drawn_on_the_upright_photo_are_not_turned():
    annotation = Annotation(frame=(40, 60), boxes=(Box(3, 5, 20, 40),))
    for orientation in range(5, 9):
        assert place_boxes(annotation, (40, 60), orientation) == list(annotation.boxes)


def decode_raw(image, exif):
    return Image.open(io.BytesIO(encode(image, "PNG", exif=exif)))


def test_boxes_follow_a_photo_that_was_resized_but_not_one_that_was_squashed():
    annotation = Annotation(frame=(120, 80), boxes=(Box(20, 10, 60, 40), None))
    assert place_boxes(annotation, (60, 40), 1) == [Box(10, 5, 30, 20), None]
    assert place_boxes(annotation, (80, 80), 1) == list(annotation.boxes)
    assert place_boxes(Annotation(frame=None, boxes=annotation.boxes), SIZE, 1) == list(
        annotation.boxes
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"text", encode(picture(), "JPEG")[:300], b"<svg/>"],
    ids=["empty", "text", "truncated", "svg"],
)
def test_what_is_no_photo_is_said(data):
    with pytest.raises(UnreadableFileError):
        decode_photo(data)


def test_a_photo_of_too_many_pixels_is_not_decoded(monkeypatch):
    monkeypatch.setattr(photos, "MAX_PHOTO_PIXELS", 2000)
    with pytest.raises(UnreadableFileError, match="60x40 pixels are too many"):
        decode_photo(encode(picture(), "PNG"))


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        (Box(-5, -5, 30, 30), Box(0, 0, 30, 30)),
        (Box(10, 10, 90, 35), Box(10, 10, 60, 35)),
    ],
)
def test_a_box_is_clipped_to_the_frame(box, clipped):
    assert usable_box(box, SIZE, BOX_LIMITS) == clipped


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (Box(60, 0, 90, 30), "box outside the frame"),
        (Box(-9, 0, 0, 30), "box outside the frame"),
        (Box(0, 0, 9, 30), "box under the minimum side"),
        (Box(0, 0, 60, 10), "box over the maximum aspect"),
        (None, "unreadable box"),
    ],
)
def test_an_unusable_box_is_skipped_with_a_reason(box, reason):
    with pytest.raises(UnusableBoxError, match=f"^{reason}$"):
        usable_box(box, SIZE, BOX_LIMITS)


def test_policies_cut_where_they_say():
    box = Box(10, 10, 30, 20)
    assert CROPS["tight"](box, SIZE) == [(10, 10, 30, 20)]
    assert CROPS["full"](box, SIZE) == [(0, 0, 60, 40)]
    assert CROPS["square"](box, SIZE) == CROPS["mixed"](box, SIZE) == [(10, 5, 30, 25)]
    assert CROPS["four"](box, SIZE) == [
        (10, 10, 20, 20),
        (20, 10, 30, 20),
        (10, 5, 30, 25),
        (8, 2, 33, 27),
    ]


@pytest.mark.parametrize(
    ("box", "window"),
    [
        (Box(0, 0, 10, 30), (0, 0, 30, 30)),
        (Box(50, 10, 60, 40), (30, 10, 60, 40)),
        (Box(0, 0, 60, 40), (10, 0, 50, 40)),
    ],
    ids=["left edge", "corner", "wider than high"],
)
def test_the_square_stays_inside_the_frame(box, window):
    assert CROPS["square"](box, SIZE) == [window]


def test_four_repeats_no_window():
    assert len(CROPS["four"](Box(10, 10, 30, 30), SIZE)) == 2


def test_cuts_hold_what_the_windows_show():
    images = cut(picture(), [(0, 10, 20, 30), (40, 10, 60, 30), (0, 0, 60, 40)], side=16)
    assert (images.shape, images.dtype) == ((3, 16, 16, 3), np.uint8)
    assert (images[0] == (200, 0, 0)).all()
    assert (images[1] == (0, 0, 200)).all()
    whole = picture().resize((16, 16), Image.Resampling.LANCZOS)
    assert (images[2] == np.asarray(whole)).all()
