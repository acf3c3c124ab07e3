"""A box in a photo -> the windows that are cut out of it, by the policy that a recipe names.

A policy is a function of a box and the frame it lies in, (width, height) in pixels. It returns
windows inside the frame, without repeats; each is cut out and squashed to a square.
To add one: its function and a line in CROPS, a name in WHOLE_FRAME if it needs no box, and one in
WITH_FRAMES if training shall also cut squares afresh, anywhere in the photo.
"""

from doggan.data.stanford import Box

WIDE_SQUARE = 1.25  # side of the wide square of `four`, in sides of the grown square

Size = tuple[int, int]  # width, height in pixels
Window = tuple[int, int, int, int]  # left, top, right, bottom, in whole pixels inside the frame


def square(box: Box, size: Size) -> list[Window]:
    """The box grown to a square, moved inside the frame; never wider than the frame."""
    return [_square(*box.center, max(box.width, box.height), size)]


def tight(box: Box, size: Size) -> list[Window]:
    """The box itself."""
    left, top = min(int(box.left), size[0] - 1), min(int(box.top), size[1] - 1)
    right = min(max(left + 1, round(box.right)), size[0])
    bottom = min(max(top + 1, round(box.bottom)), size[1])
    return [(left, top, right, bottom)]


def full(box: Box, size: Size) -> list[Window]:
    """The whole frame, as the public board's reference is."""
    return [(0, 0, *size)]


def four(box: Box, size: Size) -> list[Window]:
    """The squares at both ends of the box, the grown square, and one WIDE_SQUARE times as wide.

    After the four crops a dog of the DCGAN that led the 2019 public board.
    """
    long_side, short_side = max(box.width, box.height), min(box.width, box.height)
    half = short_side / 2
    windows = [
        _square(box.left + half, box.top + half, short_side, size),
        _square(box.right - half, box.bottom - half, short_side, size),
        _square(*box.center, long_side, size),
        _square(*box.center, long_side * WIDE_SQUARE, size),
    ]
    return list(dict.fromkeys(windows))


CROPS = {"square": square, "tight": tight, "full": full, "four": four, "mixed": square}
WHOLE_FRAME = {"full"}  # these use every photo, and once each, whatever boxes it has
WITH_FRAMES = {"mixed"}  # of these a set keeps each whole frame too, to cut from it afresh


def _square(center_x: float, center_y: float, side: float, size: Size) -> Window:
    side = max(1, min(round(side), *size))
    left = min(max(0, round(center_x - side / 2)), size[0] - side)
    top = min(max(0, round(center_y - side / 2)), size[1] - side)
    return left, top, left + side, top + side
