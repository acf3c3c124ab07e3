"""Properties of geometry and parsers, over whatever hypothesis thinks of."""

import contextlib
import math

from PIL import Image

from conftest import import_or_skip
from doggan.data.crops import CROPS
from doggan.data.photos import UnusableBoxError, cut, place_boxes, usable_box
from doggan.data.stanford import Annotation, Box, parse_annotation
from doggan.recipe import DataRecipe, load_recipe, recipe_from_toml, recipe_to_toml
from doggan.support.errors import InputError

hypothesis = import_or_skip("hypothesis", "properties")
st = hypothesis.strategies
given = hypothesis.given

sides = st.integers(1, 20_000)
numbers = st.floats(-1e6, 1e6) | st.floats(allow_nan=False, allow_infinity=False)
sizes = st.tuples(sides, sides)
boxes = st.builds(Box, numbers, numbers, numbers, numbers)
orientations = st.integers(1, 8)


@given(box=boxes, size=sizes, crop=st.sampled_from(sorted(CROPS)))
def test_every_crop_lies_in_its_frame_and_contains_the_boxs_centre(box, size, crop):
    try:
        usable = usable_box(box, size, DataRecipe(min_box_side_px=0, max_box_aspect=1e9))
    except UnusableBoxError:
        return
    windows = CROPS[crop](usable, size)
    assert windows
    for left, top, right, bottom in windows:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
    # The squares at both ends of the box, of `four`, leave its middle out.
    if crop != "four":
        x, y = usable.center
        ((left, top, right, bottom),) = windows
        assert left - 1 <= x <= right + 1
        assert top - 1 <= y <= bottom + 1
        width, height = right - left, bottom - top
        if crop == "full":
            assert (width, height) == size
        elif crop == "tight":
            assert abs(width - usable.width) < 2
            assert abs(height - usable.height) < 2
        else:
            longer = round(max(usable.width, usable.height))
            assert width == height == max(1, min(longer, *size))


@given(box=boxes, crop=st.sampled_from(sorted(CROPS)), side=st.integers(16, 128), data=st.data())
def test_whatever_is_cut_has_the_asked_size(box, crop, side, data):
    size = data.draw(st.tuples(st.integers(1, 80), st.integers(1, 80)))
    with contextlib.suppress(UnusableBoxError):
        usable = usable_box(box, size, DataRecipe(min_box_side_px=0, max_box_aspect=1e9))
        windows = CROPS[crop](usable, size)
        assert cut(Image.new("RGB", size), windows, side).shape == (len(windows), side, side, 3)


@given(box=boxes, size=sizes, frame=sizes | st.none(), orientation=orientations)
def test_boxes_are_placed_wherever_a_photo_was_turned(box, size, frame, orientation):
    hypothesis.assume(box.left < box.right and box.top < box.bottom)
    (placed,) = place_boxes(Annotation(frame=frame, boxes=(box,)), size, orientation)
    assert placed.left <= placed.right
    assert placed.top <= placed.bottom


@given(data=st.binary(max_size=2000))
def test_any_bytes_are_an_annotation_or_none(data):
    try:
        found = parse_annotation(data)
    except ValueError:
        return
    assert all(box is None or all(map(math.isfinite, box)) for box in found.boxes)


@given(
    size=st.tuples(st.text(max_size=8), st.text(max_size=8)),
    sides=st.lists(st.text(alphabet="0123456789.-+eE naif", max_size=8), min_size=4, max_size=4),
)
def test_any_numbers_in_an_annotation_are_boxes_or_none(size, sides):
    escaped = [text.replace("&", "").replace("<", "") for text in (*size, *sides)]
    names = ("width", "height", "xmin", "ymin", "xmax", "ymax")
    parts = [f"<{name}>{text}</{name}>" for name, text in zip(names, escaped, strict=True)]
    text = f"<annotation><size>{''.join(parts[:2])}</size><object><bndbox>{''.join(parts[2:])}"
    try:
        found = parse_annotation(
            f"{text}</bndbox></object></annotation>".encode("utf-8", "replace")
        )
    except ValueError:
        return
    assert found.frame is None or min(found.frame) >= 1
    for box in found.boxes:
        assert box is None or (box.left < box.right and box.top < box.bottom)


@given(text=st.text(max_size=300))
def test_any_text_is_a_recipe_or_refused(text):
    try:
        recipe = recipe_from_toml(text, "x")
    except InputError:
        pass
    else:
        assert recipe_from_toml(recipe_to_toml(recipe), "again") == recipe


@given(override=st.text(max_size=60))
def test_any_override_is_taken_or_refused(override):
    with contextlib.suppress(InputError):
        assert load_recipe("dogs", [override]).train.batch_size >= 2
