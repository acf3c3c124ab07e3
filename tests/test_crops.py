"""Photos of every kind come out upright and RGB; policies cut where they say."""

import io
import struct
import zlib
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from conftest import annotation, encode, write
from doggan.data import photos
from doggan.data.archives import UnreadableFileError
from doggan.data.crops import CROPS, WHOLE_FRAME
from doggan.data.photos import UnusableBoxError, cut, decode_photo, place_boxes, usable_box
from doggan.data.stanford import Annotation, Box, find_photos
from doggan.recipe import DataRecipe

SIZE = (60, 40)
DRAWN = 1000
LOOSE = DataRecipe(min_box_side_px=0, max_box_aspect=1e9)
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
    # Sides that were rounded have factors of their own.
    (box,) = place_boxes(
        Annotation(frame=(300, 202), boxes=(Box(30, 101, 60, 202),)), (150, 100), 1
    )
    assert box == pytest.approx((15, 50, 30, 100))
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


def png_of(width, height):
    """A PNG that says it is so large, and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 1), (1, 10**8 + 1), (0, 5), (9, 9)])
def test_a_photo_that_is_smaller_than_it_says_is_no_photo(size):
    with pytest.raises(UnreadableFileError):
        decode_photo(png_of(*size))


def exif_of(kind, value):
    """EXIF that says one thing, an orientation: of `kind` 2 as text, of 3 as a number."""
    entry = struct.pack("<HHI", ExifTags.Base.Orientation, kind, 1) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


@pytest.mark.parametrize(("kind", "value"), [(3, b"\0"), (3, b"\x09"), (3, b"\xff\xff"), (2, b"6")])
def test_an_orientation_that_is_none_turns_nothing(kind, value):
    def encoded(kind, value):
        return encode(picture(), "JPEG", quality=95, exif=exif_of(kind, value))

    assert decode_photo(encoded(3, b"\x06"))[1] == 6
    photo, found = decode_photo(encoded(kind, value))
    assert (photo.size, found) == (SIZE, 1)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\0" * 70])
def test_a_photo_outlives_its_exif(exif):
    photo, found = decode_photo(encode(picture(), "JPEG", quality=95, exif=exif))
    assert (photo.size, found) == (SIZE, 1)


def test_odd_photos_are_photos():
    frames = [picture(), Image.new("RGB", SIZE)]
    moving = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert difference(decode_photo(moving)[0], picture()) < 3  # its first frame
    assert decode_photo(encode(Image.new("L", (1, 1), 7), "PNG"))[0].getpixel((0, 0)) == (7, 7, 7)
    long = Image.new("RGB", (20_000, 1), "brown")
    assert decode_photo(encode(long, "PNG"))[0].size == (20_000, 1)


def test_a_photo_of_too_many_pixels_is_not_decoded(monkeypatch):
    monkeypatch.setattr(photos, "MAX_PHOTO_PIXELS", 2000)
    with pytest.raises(UnreadableFileError, match="60x40 pixels are too many"):
        decode_photo(encode(picture(), "PNG"))


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        (Box(-5, -5, 30, 30), Box(0, 0, 30, 30)),
        (Box(10, 10, 90, 35), Box(10, 10, 60, 35)),
        (Box(0, 0, 40, 10), Box(0, 0, 40, 10)),  # as small and as long as a box may be
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


def large_photo(folder, format, orientation=1, size=(768, 504)):
    """Stripes and blots of many widths, and a box on it; the source they lie in."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    write(folder / f"Images/n1-dog/n1_1.{format}", encode(photo, format, exif=exif))
    write(folder / "Annotation/n1-dog/n1_1", annotation(size, [(50, 21, 392, 400)]))
    return find_photos([folder])


def crops_of(source, **recipe):
    (photo,) = source.photos
    return photos.crop_photo(source, photo, DataRecipe(**recipe))


@pytest.mark.parametrize("crop", ["square", "tight", "full", "mixed"])
@pytest.mark.parametrize("side", [16, 24, 52])  # an eighth, a quarter and a half of the photo
def test_crops_of_a_reduced_jpeg_are_those_of_the_whole_one(tmp_path, monkeypatch, crop, side):
    source = large_photo(tmp_path, "jpeg")
    reduced = crops_of(source, crop=crop, side_px=side, frame_side_px=side)
    monkeypatch.setattr(photos, "JPEG_REDUCTIONS", ())
    whole = crops_of(source, crop=crop, side_px=side, frame_side_px=side)
    assert 0 < difference(reduced.images, whole.images) < 1.5
    assert reduced.sizes == whole.sizes == [(768, 504)] * len(whole.sizes)
    assert (crop == "mixed") == (whole.frames is not None)
    if crop == "mixed":
        assert 0 < difference(reduced.frames, whole.frames) < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_turned_with_its_box(tmp_path, monkeypatch, orientation):
    source = large_photo(tmp_path, "jpeg", orientation)
    reduced = crops_of(source, side_px=32)
    monkeypatch.setattr(photos, "JPEG_REDUCTIONS", ())
    assert 0 < difference(reduced.images, crops_of(source, side_px=32).images) < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_an_opened_photo_tells_the_size_that_it_is_decoded_to(format, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    with ExitStack() as stack:
        data = encode(picture(), format, exif=exif)
        opened, size, found = photos.open_photo(data, stack)
        assert photos.decode(opened, found)[0].size == size
    assert found == (1 if format in ("GIF", "BMP") else orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_tiff_is_cut_as_any_other_photo(tmp_path, orientation):
    png, tiff = (
        crops_of(large_photo(tmp_path / format, format, orientation)) for format in ("png", "tiff")
    )
    assert np.array_equal(tiff.images, png.images)


@pytest.mark.parametrize(
    ("format", "recipe"),
    [
        ("png", {"side_px": 16}),
        ("jpeg", {"side_px": 95}),  # the box, 379 pixels, would have less than twice as many
        ("jpeg", {"side_px": 16, "crop": "mixed", "frame_side_px": 127}),
    ],
)
def test_what_would_lose_too_many_pixels_is_not_reduced(tmp_path, monkeypatch, format, recipe):
    source = large_photo(tmp_path, format)
    found = crops_of(source, **recipe)
    monkeypatch.setattr(photos, "JPEG_REDUCTIONS", ())
    assert np.array_equal(found.images, crops_of(source, **recipe).images)


@pytest.mark.parametrize("size", [(1, 1), (5, 700)])
def test_a_jpeg_without_a_usable_box_is_read_whatever_its_size(tmp_path, size):
    found = crops_of(large_photo(tmp_path, "jpeg", size=size))
    assert found.skipped[0][0].startswith("box")


def drawn_sizes(seed, most):
    """So many frames (width, height) of 1 to `most` pixels a side, long and thin ones too."""
    sides = np.exp(np.random.default_rng(seed).uniform(0, np.log(most), (DRAWN, 2)))
    return [tuple(map(int, size)) for size in sides.round()]


def drawn_boxes(seed, sizes):
    """A box with fractions for each frame: inside, over an edge, or outside it altogether."""
    random = np.random.default_rng(seed)
    for width, height in sizes:
        left, top = random.uniform(-0.5, 1, 2) * (width, height)
        extent = random.uniform(0, 1.2, 2) * (width, height)
        yield Box(*map(float, (left, top, left + extent[0], top + extent[1])))


def assert_inside(windows, size):
    """Windows without repeats, of whole pixels, at least one of them a side, inside the frame."""
    assert windows
    assert len(set(windows)) == len(windows)
    for left, top, right, bottom in windows:
        assert all(type(edge) is int for edge in (left, top, right, bottom))
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


@pytest.mark.parametrize("policy", CROPS)
def test_windows_of_any_box_lie_inside_any_frame(policy):
    sizes, used = drawn_sizes(0, most=3000), 0
    for size, drawn in zip(sizes, drawn_boxes(1, sizes), strict=True):
        try:
            box = usable_box(drawn, size, LOOSE)
        except UnusableBoxError:
            continue
        used += 1
        windows = CROPS[policy](box, size)
        assert_inside(windows, size)
        widths = [right - left for left, _, right, _ in windows]
        heights = [bottom - top for _, top, _, bottom in windows]
        if policy in WHOLE_FRAME:
            assert windows == [(0, 0, *size)]
        elif policy == "tight":
            assert np.abs(np.subtract(windows[0], box)).max() <= 1
        else:
            assert widths == heights
            # Wherever the frame has room for it, the square holds the box, but for rounding.
            square = CROPS["square"](box, size)[0]
            assert square in windows
            if max(box.width, box.height) <= min(size):
                beyond = np.subtract(square, box) * (1, 1, -1, -1)
                assert beyond.max() <= 1
    assert used > DRAWN / 2


@pytest.mark.parametrize("policy", CROPS)
def test_windows_are_mirrored_with_their_box(policy):
    """Left and right, up and down are treated alike, but for the rounding of halves."""
    sizes = drawn_sizes(2, most=3000)
    for size, drawn in zip(sizes, drawn_boxes(3, sizes), strict=True):
        try:
            box = usable_box(drawn, size, LOOSE)
        except UnusableBoxError:
            continue
        turned = Box(
            size[0] - box.right, size[1] - box.bottom, size[0] - box.left, size[1] - box.top
        )
        windows, others = CROPS[policy](box, size), CROPS[policy](turned, size)
        corners = np.array([*size, *size])
        back = [tuple(corners - np.roll(window, 2)) for window in others]
        for window in windows:
            nearest = min(np.abs(np.subtract(window, other)).max() for other in back)
            assert nearest <= 1


@pytest.mark.parametrize("orientation", range(5, 9))
def test_any_box_turns_with_its_photo(orientation):
    random = np.random.default_rng(orientation)
    checked = 0
    for width, height in drawn_sizes(orientation, most=40):
        if width == height:  # nothing says then on which picture it was drawn
            continue
        left, top = (int(random.integers(0, side)) for side in (width, height))
        right, bottom = random.integers(left, width) + 1, random.integers(top, height) + 1
        marked = np.zeros((height, width), np.uint8)
        marked[top:bottom, left:right] = 255
        stored = Image.fromarray(marked)
        stored.getexif()[0x0112] = orientation
        upright = ImageOps.exif_transpose(stored)
        annotation = Annotation(
            frame=(width, height), boxes=(Box(left, top, int(right), int(bottom)),)
        )
        assert place_boxes(annotation, upright.size, orientation) == [upright.getbbox()]
        checked += 1
    assert checked > DRAWN / 2
