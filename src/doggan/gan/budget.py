"""Networks and batches that fit what a run can carry, by a rule that is said aloud."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from doggan.data.batches import Batches
from doggan.data.imageset import ImageSet
from doggan.gan.distributed import Processes, choose_processes, started_by_torchrun
from doggan.gan.monitor import LOG_STEPS, Monitor
from doggan.gan.schedule import batch_size_at
from doggan.gan.state import new_state
from doggan.gan.steps import make_steps
from doggan.recipe import MAX_CHANNELS, BudgetRecipe, Recipe
from doggan.support.deadline import Deadline
from doggan.support.device import choose_device, choose_precision, set_arithmetic

_WARM_UP_SECONDS, _MEASURED_SECONDS = 1.0, 3.0


def fit_to_budget(
    recipe: Recipe,
    imageset: ImageSet,
    *,
    device: str = "auto",
    deadline: Deadline,
    say: Callable[[str], None],
) -> Recipe:
    """The recipe with the width and the batch that its section `budget` wants of this machine.

    Speeds are measured on the device, width by width, until one is too slow; `say` gets a line
    each. What is returned has no `budget` left, so that the run goes on as it began.
    """
    budget = recipe.budget
    if not budget.widths:
        return recipe
    if started_by_torchrun():  # processes on several machines would each find another width
        say("  under torchrun widths and batches are the recipe's; set them with --set networks...")
        return replace(recipe, budget=BudgetRecipe())
    chosen, epochs = recipe, 0.0
    for width in map(int, budget.widths):
        wider = with_width(recipe, width)
        rate = images_per_second(wider, imageset, device)
        images = min(recipe.train.images, rate * deadline.remaining())
        found = images / len(imageset)
        say(f"  width {width}: {rate:,.0f} images/s, the set {found:,.1f} times in this run")
        if chosen is recipe or found >= budget.epochs:
            chosen, epochs = wider, found
        if found < budget.epochs:
            break
    batch_size = _batch_size(recipe, epochs)
    width = chosen.networks.generator_width
    say(
        f"  width {width} and batches of {batch_size} are taken: the widest that shows the set "
        f"{budget.epochs:g} times, and a batch twice as large for each time that is doubled"
    )
    train = replace(recipe.train, batch_size=batch_size)
    return replace(chosen, train=train, budget=BudgetRecipe())


def with_width(recipe: Recipe, width: int) -> Recipe:
    """Both networks of that width, and of a `channel_max` in the recipe's proportion to it."""
    own = recipe.networks
    most = min(round(own.channel_max * width / own.generator_width), MAX_CHANNELS)
    networks = replace(
        own, generator_width=width, discriminator_width=width, channel_max=max(most, width)
    )
    return replace(recipe, networks=networks)


def images_per_second(recipe: Recipe, imageset: ImageSet, device: str) -> float:
    """How many images a second a training of the recipe shows, in the middle of its course.

    Several processes are taken to share each batch without loss.
    """
    place = choose_device(device)
    gpus = torch.cuda.device_count() if place.type == "cuda" else 0
    options, precision = recipe.train, choose_precision(recipe.train.precision, place)
    processes, _ = choose_processes(options, gpus)
    batch_size = max(2, batch_size_at(options, 0.5) // processes)
    set_arithmetic(precision, options.deterministic)
    state, monitor = new_state(imageset, recipe, place, precision), Monitor(place)
    batches = Batches(imageset, options, seed=recipe.seed, device=place)
    steps = make_steps(state, options, monitor, precision, Processes())

    def take_steps(seconds: float) -> float:
        """Trains for so long; returns the images a second."""
        before, started = state.steps, time.perf_counter()
        while time.perf_counter() - started < seconds or state.steps == before:
            steps.take(batches, batch_size)
            if state.steps % LOG_STEPS == 0:
                monitor.failure()  # waits for the device, as seldom as a training does
        monitor.failure()
        images = (state.steps - before) * batch_size * processes
        return images / (time.perf_counter() - started)

    take_steps(_WARM_UP_SECONDS)
    return take_steps(_MEASURED_SECONDS)


def _batch_size(recipe: Recipe, epochs: float) -> int:
    """The recipe's, doubled once for each time that `epochs` is twice the budget's, and again."""
    size, left = recipe.train.batch_size, epochs / max(recipe.budget.epochs, 1.0)
    while left >= 2 and 2 * size <= recipe.budget.most_batch_size:
        size, left = 2 * size, left / 2
    return size
