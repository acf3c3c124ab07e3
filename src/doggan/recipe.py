"""What to do, as data: frozen dataclasses that are read from and written to TOML.

A recipe is named (`dogs`, `mnist-dcgan`, ...) or a file (`my.toml`); any value of it can be
overridden with `section.key=value`. There is no other configuration.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from doggan.competition import IMAGES, SIDE_PX
from doggan.support.checked_fields import Section, at_least, between, name_in, names_in, within
from doggan.support.errors import InputError
from doggan.support.files import read_small_file

MIN_SIDE_PX, MAX_SIDE_PX, MAX_FRAME_SIDE_PX = 16, 128, 256
MAX_CHANNELS = 4096
MAX_TRUNCATION = 2.0
MAX_RECIPE_BYTES = 20_000  # one has about 1,000; tomllib takes the square of a key's dots
_RECIPES = Path(__file__).with_name("recipes")
BY_BUDGET = {"train.batch_size", "networks.channel_max"}  # what `budget.widths` decides
BY_BUDGET |= {f"networks.{name}_width" for name in ("generator", "discriminator")}


@dataclass(frozen=True, kw_only=True)
class DataRecipe(Section):
    """How photos become square images; the last three are for `mixed` alone."""

    crop: str = name_in("doggan.data.crops:CROPS", "square")
    side_px: int = between(MIN_SIDE_PX, MAX_SIDE_PX, SIDE_PX)
    min_box_side_px: float = at_least(0, 16.0)
    max_box_aspect: float = at_least(1, 4.0)
    fresh_part: float = between(0, 1, 0.5)
    full_part: float = between(0, 1, 0.0)
    frame_side_px: int = between(MIN_SIDE_PX, MAX_FRAME_SIDE_PX, 96)


@dataclass(frozen=True, kw_only=True)
class NetworksRecipe(Section):
    """Generator and discriminator; the side, the channels and the labels are those of the set.

    `latent` is the length of z. The widths are channels at the finest feature map of each half of
    a `dcgan` or `resnet`, whose smaller maps have more, up to `channel_max`, and units of the
    narrowest hidden layer of a `dense` one. `upsampling` is how a `dcgan` doubles its maps; a
    `resnet` always by `nearest`. A `dense` discriminator has no batch norm. `conditional` networks
    are told the label: the generator as `conditioning` says. A `hierarchical_latent` is split among
    the first layer and the generator's batch norms.
    """

    architecture: str = name_in("doggan.gan.networks:ARCHITECTURES", "dcgan")
    upsampling: str = name_in("doggan.gan.networks.dcgan:UPSAMPLINGS", "transposed")
    discriminator_norm: str = name_in("doggan.gan.networks.norms:NORMS", "batch")
    conditional: bool = False
    conditioning: str = name_in("doggan.gan.networks.pair:CONDITIONINGS", "latent")
    hierarchical_latent: bool = False
    latent: int = between(1, 4096, 128)
    generator_width: int = between(1, MAX_CHANNELS, 64)
    discriminator_width: int = between(1, MAX_CHANNELS, 64)
    channel_max: int = between(1, MAX_CHANNELS, 1024)


def _are_parts(values: tuple[float, ...]) -> bool:
    return 1 <= len(values) <= 5 and all(0 <= value <= 1 for value in values)


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Section):
    """The training loop: lengths are counted in real images shown, so batch size is free.

    `batch_size` doubles `batch_doublings` times, at equal parts of the run, and learning rates fall
    to zero over its last part, `cooldown`; the run ends by its images or by its time limit,
    whichever comes first. An interval ends with a save, and goes on where saves would take more
    than `max_saving_share` of the time. An average of the generator is kept for each half-life of
    `ema_parts`, in parts of the images so far, and of at most `ema_half_life_images`; the first is
    the run's own.
    `gradient_penalty` is gamma of R1 and R2, taken every `gradient_penalty_interval` steps.
    `consistency` is the weight of D's squared difference between a real image and the same one
    mirrored and moved. `top_k` is the part of the fakes that the generator learns from, by D's
    logit. `augment` names augmentations, `translation+cutout` say. Off: 0, 0, 1 and "".
    `processes` share out each batch, one a GPU; 0 takes as many as gain.
    """

    images: int = at_least(1, 12_000_000)
    interval_images: int = at_least(1, 20_000)
    max_saving_share: float = between(0, 1, 0.1)
    batch_size: int = at_least(2, 32)
    batch_doublings: int = between(0, 16, 0)
    loss: str = name_in("doggan.gan.losses:LOSSES", "bce")
    learning_rate_generator: float = within(5e-4, lambda rate: 0 < rate < 1, "0 to 1")
    learning_rate_discriminator: float = within(5e-4, lambda rate: 0 < rate < 1, "0 to 1")
    cooldown: float = between(0, 1, 0.0)
    beta1: float = within(0.3, lambda beta: 0 <= beta < 1, "0 to 1")
    beta2: float = within(0.999, lambda beta: 0 <= beta < 1, "0 to 1")
    real_label: float = within(0.9, lambda label: 0.5 < label <= 1, "0.5 to 1")
    gradient_penalty: float = at_least(0, 0.0)
    gradient_penalty_interval: int = at_least(1, 1)
    consistency: float = at_least(0, 0.0)
    top_k: float = within(1.0, lambda part: 0 < part <= 1, "above 0, to 1")
    one_pass: bool = False
    augment: str = names_in("doggan.gan.augment:AUGMENTATIONS")
    augment_rate: float = between(0, 1, 1.0)
    ema_parts: tuple[float, ...] = within((0.05,), _are_parts, "one to five numbers from 0 to 1")
    ema_half_life_images: float = at_least(0, 20_000.0)
    flip: bool = True
    precision: str = name_in("doggan.support.device:PRECISIONS", "auto")
    processes: int = between(0, 64, 0)
    deterministic: bool = False


def _are_widths(values: tuple[float, ...]) -> bool:
    whole = all(1 <= value <= MAX_CHANNELS and value == int(value) for value in values)
    return len(values) <= 10 and list(values) == sorted(values) and whole


@dataclass(frozen=True, kw_only=True)
class BudgetRecipe(Section):
    """How networks and batches grow with what a run can carry; without `widths` they do not.

    Both networks get the widest of `widths` that shows the whole set `epochs` times before the end,
    and `networks.channel_max` grows in proportion. Where that would show it twice as often, and
    twice that, the batch doubles, to `most_batch_size` at most.
    """

    widths: tuple[float, ...] = within(
        (), _are_widths, "whole numbers from 1 to 4096, ascending, ten at most"
    )
    epochs: float = at_least(0, 30.0)
    most_batch_size: int = at_least(2, 64)


@dataclass(frozen=True, kw_only=True)
class SubmissionRecipe(Section):
    """What goes into the zip.

    With `choose` the judge chooses the average of the generator and the truncation, around the
    given one; without it they are the first of `train.ema_parts` and `truncation` itself.
    """

    count: int = between(1, 100_000, IMAGES)
    truncation: float = between(0, MAX_TRUNCATION, 1.0)
    choose: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """One run, whole."""

    seed: int = within(0, lambda seed: 0 <= seed < 2**32, "0 to 4294967295")
    data: DataRecipe = field(default_factory=DataRecipe)
    networks: NetworksRecipe = field(default_factory=NetworksRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    budget: BudgetRecipe = field(default_factory=BudgetRecipe)
    submission: SubmissionRecipe = field(default_factory=SubmissionRecipe)


_TYPE_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_TYPE_NAMES[tuple] = "list of numbers"


def load_recipe(name_or_file: str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe with that name, or in that TOML file, with `section.key=value` overrides.

    What an override sets is not left to `budget.widths`, unless another sets those.
    Raises InputError for an unknown name or key (naming the nearest), and for a value out of range.
    """
    recipe, keys = recipe_from_toml(_recipe_text(name_or_file), where=name_or_file), set()
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"--set {override:.100}: write it like train.batch_size=128")
        try:
            value = tomllib.loads(f"value = {text.strip()}")["value"]
        except (ValueError, RecursionError):  # no TOML, a number of thousands of digits
            value = text.strip()  # a bare word, as people type it: data.crop=four
        recipe = with_value(recipe, key.strip(), value)
        keys.add(key.strip())
    if keys & BY_BUDGET and "budget.widths" not in keys:
        recipe = with_value(recipe, "budget.widths", [])
    return recipe


def recipe_names() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in _RECIPES.glob("*.toml"))


def recipe_from_toml(text: str, where: str) -> Recipe:
    """Parses a recipe; keys that are left out keep their defaults. `where` names it in errors."""
    if len(text) > MAX_RECIPE_BYTES:
        raise InputError(f"{where} is too long for a recipe")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
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


def recipe_values(recipe: Recipe) -> dict[str, object]:
    """Every value, by the key that `with_value` takes."""
    sections = asdict(recipe)
    seed = {"seed": sections.pop("seed")}
    return seed | {f"{a}.{b}": value for a, own in sections.items() for b, value in own.items()}


def with_value(recipe: Recipe, key: str, value: object) -> Recipe:
    """The recipe with `key` (`seed` or `section.name`) set to `value`, checked."""
    known = recipe_values(recipe)
    if key not in known:
        key = f"{key:.100}"  # a file's own may have no end
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        hint = f"the nearest known one is '{near[0]}'" if near else f"known: {', '.join(known)}"
        raise InputError(f"the recipe has no '{key}'; {hint}")
    section, _, name = key.rpartition(".")
    owner = getattr(recipe, section) if section else recipe
    current = known[key]
    try:
        if isinstance(current, float) and type(value) is int:
            value = float(value)
        if isinstance(value, list) and all(type(number) in (int, float) for number in value):
            value = tuple(map(float, value))
    except OverflowError as error:
        raise InputError(f"{key} is a number of too many digits") from error
    if type(value) is not type(current):
        raise InputError(f"{key} must be a {_TYPE_NAMES[type(current)]}; found {value!r:.100}")
    changed = replace(owner, **{name: value})
    return replace(recipe, **{section: changed}) if section else changed


def _recipe_text(name_or_file: str) -> str:
    packaged = name_or_file in recipe_names()
    path = _RECIPES / f"{name_or_file}.toml" if packaged else Path(name_or_file)
    if not path.is_file():
        near = difflib.get_close_matches(name_or_file, recipe_names(), n=1)
        hint = f"; the nearest is '{near[0]}'" if near else ""
        raise InputError(
            f"'{name_or_file}' is neither a recipe ({', '.join(recipe_names())}) nor a TOML file"
            + hint
        )
    return read_small_file(path, MAX_RECIPE_BYTES)
