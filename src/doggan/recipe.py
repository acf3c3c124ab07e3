"""What to do, as data: frozen dataclasses that are read from and written to TOML.

A recipe is named (`dogs`, `mnist-dcgan`, ...) or a file (`my.toml`); any value of it can be
overridden with `section.key=value`. There is no other configuration.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path

from doggan.competition import IMAGES, SIDE_PX
from doggan.support.errors import InputError

CROP_POLICIES = ("square", "tight", "full", "four")
ARCHITECTURES = ("dcgan", "dense")
UPSAMPLINGS = ("transposed", "nearest")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MIN_SIDE_PX, MAX_SIDE_PX = 16, 128


def _require(condition: bool, key: str, value: object, expected: str) -> None:
    if not condition:
        raise InputError(f"{key} is {value!r}; expected {expected}")


def _one_of(values: Iterable[object]) -> str:
    return "one of " + ", ".join(str(value) for value in values)


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """How photos become square images."""

    crop: str = "square"
    side_px: int = SIDE_PX
    min_box_side_px: float = 16
    max_box_aspect: float = 4.0

    def __post_init__(self):
        _require(self.crop in CROP_POLICIES, "data.crop", self.crop, _one_of(CROP_POLICIES))
        fits = MIN_SIDE_PX <= self.side_px <= MAX_SIDE_PX
        _require(fits, "data.side_px", self.side_px, f"{MIN_SIDE_PX} to {MAX_SIDE_PX}")
        _require(
            self.min_box_side_px >= 0, "data.min_box_side_px", self.min_box_side_px, "0 or more"
        )
        _require(self.max_box_aspect >= 1, "data.max_box_aspect", self.max_box_aspect, "1 or more")


@dataclass(frozen=True, kw_only=True)
class NetworksRecipe:
    """Generator and discriminator; the side, the channels and the labels are those of the set.

    `latent` is the length of z. The widths are channels at the finest feature map of each half of
    a `dcgan`, and units of the narrowest hidden layer of a `dense` one. `upsampling` is how a
    `dcgan` doubles its maps. `conditional` networks are told the label.
    """

    architecture: str = "dcgan"
    upsampling: str = "transposed"
    conditional: bool = False
    latent: int = 128
    generator_width: int = 64
    discriminator_width: int = 64

    def __post_init__(self):
        for name, known in (("architecture", ARCHITECTURES), ("upsampling", UPSAMPLINGS)):
            value = getattr(self, name)
            _require(value in known, f"networks.{name}", value, _one_of(known))
        for name in ("latent", "generator_width", "discriminator_width"):
            value = getattr(self, name)
            _require(1 <= value <= 4096, f"networks.{name}", value, "1 to 4096")


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """The training loop: lengths are counted in real images shown, so batch size is free."""

    images: int = 12_000_000
    interval_images: int = 20_000
    batch_size: int = 32
    learning_rate_generator: float = 5e-4
    learning_rate_discriminator: float = 5e-4
    beta1: float = 0.3
    beta2: float = 0.999
    real_label: float = 0.9
    ema_half_life_images: float = 20_000
    flip: bool = True
    precision: str = "auto"
    deterministic: bool = False

    def __post_init__(self):
        for name in ("images", "interval_images"):
            _require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "1 or more")
        _require(self.batch_size >= 2, "train.batch_size", self.batch_size, "2 or more")
        for name in ("learning_rate_generator", "learning_rate_discriminator"):
            _require(0 < getattr(self, name) < 1, f"train.{name}", getattr(self, name), "0 to 1")
        for name in ("beta1", "beta2"):
            _require(0 <= getattr(self, name) < 1, f"train.{name}", getattr(self, name), "0 to 1")
        _require(0.5 < self.real_label <= 1, "train.real_label", self.real_label, "0.5 to 1")
        half_life = self.ema_half_life_images
        _require(half_life >= 0, "train.ema_half_life_images", half_life, "0 or more")
        _require(
            self.precision in PRECISIONS, "train.precision", self.precision, _one_of(PRECISIONS)
        )


@dataclass(frozen=True, kw_only=True)
class SubmissionRecipe:
    """What goes into the zip."""

    count: int = IMAGES
    truncation: float = 1.0

    def __post_init__(self):
        _require(1 <= self.count <= 1_000_000, "submission.count", self.count, "1 to 1,000,000")
        _require(0 <= self.truncation <= 2, "submission.truncation", self.truncation, "0 to 2")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run, whole."""

    seed: int = 0
    data: DataRecipe = DataRecipe()
    networks: NetworksRecipe = NetworksRecipe()
    train: TrainRecipe = TrainRecipe()
    submission: SubmissionRecipe = SubmissionRecipe()

    def __post_init__(self):
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 4294967295")


def load_recipe(name_or_file: str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe with that name, or in that TOML file, with `section.key=value` overrides.

    Raises InputError for an unknown name or key (naming the nearest), and for a value out of range.
    """
    recipe = recipe_from_toml(_recipe_text(name_or_file), where=name_or_file)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"--set {override}: write it like train.batch_size=128")
        recipe = with_value(recipe, key.strip(), _parse_value(text.strip()))
    return recipe


def recipe_names() -> list[str]:
    """The names of the recipes that come with the package."""
    folder = resources.files("doggan") / "recipes"
    return sorted(
        item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")
    )


def recipe_from_toml(text: str, where: str) -> Recipe:
    """Parses a recipe; keys that are left out keep their defaults. `where` names it in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not valid TOML: {error}") from error
    recipe = Recipe()
    for section, values in table.items():
        for key, value in values.items() if isinstance(values, dict) else [(None, values)]:
            recipe = with_value(recipe, f"{section}.{key}" if key else section, value)
    return recipe


def recipe_to_toml(recipe: Recipe) -> str:
    """The whole recipe as TOML; `recipe_from_toml` gives the same recipe back."""
    lines = [f"seed = {recipe.seed}"]
    for section, values in asdict(recipe).items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]"]
            # JSON's numbers, strings and booleans are TOML's too.
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def with_value(recipe: Recipe, key: str, value: object) -> Recipe:
    """The recipe with `key` (`seed` or `section.name`) set to `value`, checked."""
    known = _keys(recipe)
    if key not in known:
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        hint = (
            f"the nearest known one is '{nearest[0]}'" if nearest else f"known: {', '.join(known)}"
        )
        raise InputError(f"the recipe has no '{key}'; {hint}")
    section, _, name = key.rpartition(".")
    owner = getattr(recipe, section) if section else recipe
    current = getattr(owner, name)
    if isinstance(current, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(current):
        raise InputError(f"{key} must be a {_TYPE_NAMES[type(current)]}; found {value!r}")
    changed = replace(owner, **{name: value})
    return replace(recipe, **{section: changed}) if section else changed


_TYPE_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def _keys(recipe: Recipe) -> list[str]:
    keys = []
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            keys += [f"{field.name}.{inner.name}" for inner in fields(value)]
        else:
            keys.append(field.name)
    return keys


def _recipe_text(name_or_file: str) -> str:
    if name_or_file in recipe_names():
        return (resources.files("doggan") / "recipes" / f"{name_or_file}.toml").read_text("utf-8")
    path = Path(name_or_file)
    if not path.is_file():
        raise InputError(
            f"'{name_or_file}' is neither a recipe ({', '.join(recipe_names())}) nor a TOML file"
        )
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {error}") from error


def _parse_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word, as people type it: data.crop=four
