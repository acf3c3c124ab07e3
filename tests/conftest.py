"""What several tests stand on: small photos, sets and recipes that the tests make themselves."""

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from doggan.data.build import build_imageset
from doggan.gan import recorder
from doggan.gan.distributed import Processes
from doggan.gan.history import save_curves
from doggan.gan.monitor import LOG_STEPS, Monitor
from doggan.recipe import load_recipe
from doggan.support.device import choose_device, choose_precision

# What a machine may lack; a test that needs it is skipped, or fails where DOGGAN_REQUIRE names it,
# as in `DOGGAN_REQUIRE=chromium,peers,wheel,notebook,properties`.
MAY_BE_MISSING = {
    "chromium": "the browser, and Playwright to drive it",
    "peers": "the packages that ours are held against",
    "wheel": "pip and setuptools",
    "notebook": "what reads and runs a notebook",
    "properties": "hypothesis",
}
REQUIRED = set(filter(None, os.environ.get("DOGGAN_REQUIRE", "").split(",")))
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"

# No step depends on how long the run is: it goes on with the same bytes under another length, too.
# With momentum, since the tests' networks are too small to learn without, and a discriminator as
# fast as the generator. Every interval is saved, however short it is.
STEADY = (
    "train.batch_doublings=0",
    "train.cooldown=0",
    "train.beta1=0.3",
    "train.learning_rate_discriminator=0.0006",
    "train.max_saving_share=1.0",
)
TINY = (
    *STEADY,
    "networks.latent=8",
    "networks.generator_width=8",
    "networks.discriminator_width=4",
    "train.learning_rate_generator=0.002",
    "train.precision=fp32",  # the same on every machine
    "train.batch_size=8",
    "train.ema_parts=[0.05]",
    "train.images=64",
    "train.interval_images=32",
    "submission.count=20",
)

# Images that differ after the first step already: with TINY's own rate they may all be one grey
# for some ten steps, which are all that a busy machine takes.
LOUD = "train.learning_rate_generator=0.03"

DEVICE = choose_device("auto")
MULTIPLIED = {"fp32", choose_precision("auto", DEVICE)} | (
    {"fp16"} if DEVICE.type == "cuda" else set()
)
# For what depends on the precision: each that this machine multiplies in.
in_each_precision = pytest.mark.parametrize(
    "precision",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name not in MULTIPLIED, reason=f"this machine does not multiply in {name}"
            ),
        )
        for name in ("fp32", "bf16", "fp16")
    ],
)


# More than a hundred between lines of the log, one save among them.
A_HUNDRED_STEPS = (
    f"train.images={8 * 12 * LOG_STEPS}",
    f"train.interval_images={8 * 6 * LOG_STEPS}",
    "train.batch_size=8",
)

# Values of a recipe that together make a step do all that it can.
in_each_kind_of_step = pytest.mark.parametrize(
    "values",
    [
        pytest.param((), id="default"),
        pytest.param(("train.one_pass=true", "train.top_k=0.5"), id="one pass, top k"),
        pytest.param(
            (
                "train.augment=translation+colour+cutout",
                "train.consistency=1",
                "train.loss=bce-margin",
                "networks.conditional=true",
            ),
            id="augmented, consistent, conditional",
        ),
        pytest.param(
            (
                "train.loss=rpgan",
                "train.gradient_penalty=1",
                "networks.discriminator_norm=spectral",
                "networks.hierarchical_latent=true",
            ),
            id="penalised",
        ),
        pytest.param(("train.loss=rals", "networks.architecture=resnet"), id="residual"),
    ],
)


@contextlib.contextmanager
def watched_between_lines_of_the_log(watch: Callable[[bool], None]) -> Iterator[list[int]]:
    """Within it a training calls `watch(True)` after what waits for the device at a line of the
    log, and `watch(False)` before the next; gives the images seen at each step in between."""
    waiting, seen, on = 0, [], False

    def lets_wait(function):
        @functools.wraps(function)
        def wait(*arguments, **options):
            nonlocal waiting, on
            waiting, on = waiting + 1, False
            watch(False)
            try:
                return function(*arguments, **options)
            finally:
                waiting -= 1
                on = not waiting
                watch(on)

        return wait

    def noted(self, images_seen, *arguments):
        if on:
            seen.append(images_seen)
        return add(self, images_seen, *arguments)

    add = Monitor.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Monitor, "add", noted)
        for owner, names in {
            Monitor: ("failure", "row"),
            Processes: ("any",),
            recorder.Recorder: ("save",),
        }.items():
            for name in names:
                patch.setattr(owner, name, lets_wait(getattr(owner, name)))
        try:
            yield seen
        finally:
            watch(False)


def pytest_configure():
    with contextlib.suppress(ImportError):
        settings = import_module("hypothesis").settings
        # The same examples each time, and as long as a busy machine takes for them.
        settings.register_profile("doggan", deadline=None, derandomize=True)
        settings.load_profile("doggan")
    if unknown := REQUIRED - MAY_BE_MISSING.keys():
        raise pytest.UsageError(
            f"DOGGAN_REQUIRE names {', '.join(sorted(unknown))}; "
            f"expected some of {', '.join(MAY_BE_MISSING)}"
        )


def as_options(values: Iterable[str]) -> list[str]:
    """Values of a recipe as a command takes them: `--set KEY=VALUE` each."""
    return [word for value in values for word in ("--set", value)]


def skip_without(what: str, reason: str) -> None:
    """Skips the test, or fails it where DOGGAN_REQUIRE names `what`, a key of MAY_BE_MISSING."""
    assert what in MAY_BE_MISSING
    if what in REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def import_or_skip(module: str, what: str) -> ModuleType:
    """A module that belongs to what a machine may lack."""
    try:
        return import_module(module)
    except ImportError as error:
        return skip_without(what, f"{module} cannot be imported ({error})")


def pytest_collection_modifyitems(items):
    """Files with slow tests first: a worker that takes one last keeps the others waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own: the user's is neither read nor filled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True, scope="session")
def no_curves():
    """Trainings draw no curves.png: it takes ten times as long as a tiny one does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "save_curves", lambda rows, path: None)
        yield


@pytest.fixture
def curves(monkeypatch):
    """Trainings draw their curves.png, as they do for users."""
    monkeypatch.setattr(recorder, "save_curves", save_curves)


@pytest.fixture
def tiny_recipe():
    """A recipe that trains in a second."""
    return load_recipe("dogs", TINY)


@pytest.fixture
def photos(tmp_path):
    """Twelve photos of two breeds in Stanford's layout, one dog each."""
    return make_photos(tmp_path / "photos", count=12)


@pytest.fixture
def tiny_set(photos, tmp_path, tiny_recipe):
    """A built set of the twelve photos."""
    return build_imageset([photos], tmp_path / "set", tiny_recipe.data)


@pytest.fixture
def real_photos():
    """The path of 11,641 real photos in Kaggle's layout, where they are at hand."""
    return _real("generative-dog-images-small.zip")


@pytest.fixture
def real_annotations():
    """The path of 712 genuine annotations, where they are at hand."""
    return _real("stanford-annotation-4breeds.zip")


def _real(name: str) -> Path:
    path = REAL_DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here; the same is tested on made data")
    return path


def make_photos(folder: Path, count: int) -> Path:
    """Noise photos of 96x80 pixels, a box each, alternating between two breeds."""
    random = np.random.default_rng(0)
    for index in range(count):
        breed = ("n90000001-Red_dog", "n90000002-Blue_dog")[index % 2]
        pixels = random.integers(0, 256, (80, 96, 3), dtype=np.uint8)
        pixels[..., index % 2] //= 4
        name = f"{breed[:9]}_{index}"
        write(folder / "Images" / breed / f"{name}.jpg", encode(Image.fromarray(pixels), "JPEG"))
        box = (10 + index, 8, 70 + index, 60)
        write(folder / "Annotation" / breed / name, annotation((96, 80), [box]))
    return folder


def saved_tensors(run_folder: Path) -> list[torch.Tensor]:
    """Every tensor of a run's checkpoint, always in the same order."""
    return tensors_of(torch.load(run_folder / "checkpoint.pt", weights_only=True))


def tensors_of(value: object) -> list[torch.Tensor]:
    """Every tensor of nested dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return [value]
    values = list(value.values()) if isinstance(value, dict) else value
    nested = values if isinstance(values, list | tuple) else []
    return [tensor for item in nested for tensor in tensors_of(item)]


def annotation(size: tuple[int, int] | None, boxes: list, filename: str = "%s") -> bytes:
    """An annotation's XML; like some genuine ones it names no real file."""
    frame = size and f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    objects = "".join(
        "<object><name>dog</name><bndbox>"
        + "".join(
            f"<{tag}>{value}</{tag}>"
            for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        + "</bndbox></object>"
        for box in boxes
    )
    return (
        f"<annotation><filename>{filename}</filename>{frame or ''}{objects}</annotation>".encode()
    )


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    """The image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def without_modules(names: list[str]) -> str:
    """A sitecustomize.py by which a new Python finds none of these modules."""
    return (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {names}:\n"
        "            raise ImportError(f'{name} is blocked')\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )


def write(path: Path, data: bytes) -> Path:
    """Writes a file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
