"""An earlier session's run, taken up where it ended."""

from dataclasses import replace
from pathlib import Path

from doggan.kaggle.inside.output import CONTINUED
from doggan.recipe import (
    BY_BUDGET,
    BudgetRecipe,
    Recipe,
    recipe_from_toml,
    recipe_values,
    with_value,
)
from doggan.support.files import write_bytes


def take_up(checkpoint: Path, recipe: Recipe, folder: Path) -> Recipe:
    """Copies the run to `folder`; returns the recipe, with what its budget decided then.

    Raises InputError where the checkpoint is not one, or of a run with another recipe.
    """
    from doggan.gan.checkpoint import read_checkpoint, require_same_course

    earlier = recipe_from_toml(read_checkpoint(checkpoint)["recipe"], str(checkpoint))
    if recipe.budget.widths:
        decided = recipe_values(earlier)
        for key in sorted(BY_BUDGET):
            recipe = with_value(recipe, key, decided[key])
        recipe = replace(recipe, budget=BudgetRecipe())
    require_same_course(earlier, recipe, checkpoint)
    for name in CONTINUED:
        if (path := checkpoint.parent / name).is_file():
            write_bytes(folder / name, path.read_bytes())
    return recipe
