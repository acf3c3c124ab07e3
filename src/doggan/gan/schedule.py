"""How much of its budget a training has used, and what follows from that: rates, batch sizes.

The budget is what ends the run, its images or its time, whichever comes first. Where it is the
images, all that follows depends on their number alone, so a training goes on exactly after a cut.
"""

from doggan.gan.state import TrainingState
from doggan.recipe import TrainRecipe

# What both learning rates are multiplied with each time that a training has diverged, and how often
# that may happen.
SLOWDOWN, MOST_SLOWDOWNS = 0.5, 3


def part_done(state: TrainingState, images: int, seconds_left: float) -> float:
    """How much of the run is over, 0 to 1, by its images or its time, whichever is further.

    `images` is the length of the run, `seconds_left` its time from now on, infinite without a
    limit. The time trained so far and the time left are the whole, so a run that is continued under
    another limit finds its place in the new whole.
    """
    time_left = max(0.0, seconds_left)
    by_time = state.seconds / (state.seconds + time_left) if time_left > 0 else 1.0
    return min(1.0, max(state.images_seen / images, by_time))


def batch_size_at(recipe: TrainRecipe, done: float) -> int:
    """The batch size once the part `done` of the run is over: it doubles at equal parts."""
    doublings = min(int(done * (recipe.batch_doublings + 1)), recipe.batch_doublings)
    return recipe.batch_size << doublings


def rate_factor(recipe: TrainRecipe, done: float) -> float:
    """What learning rates are multiplied with: 1, and linearly to 0 over the last `cooldown`."""
    return min(1.0, (1.0 - done) / recipe.cooldown) if recipe.cooldown else 1.0


def set_learning_rates(state: TrainingState, recipe: TrainRecipe, done: float) -> None:
    """Sets both optimizers' rates for the next step."""
    factor = rate_factor(recipe, done) * SLOWDOWN**state.slowdowns
    for group in state.generator_optimizer.param_groups:
        group["lr"] = recipe.learning_rate_generator * factor
    for group in state.discriminator_optimizer.param_groups:
        group["lr"] = recipe.learning_rate_discriminator * factor
