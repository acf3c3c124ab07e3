"""What can be told from a run's history: a discriminator or a generator that has collapsed."""

from doggan.support.json_values import is_number

COLLAPSE_IMAGES = 50_000  # so long must the discriminator win before it is said
ACCURACY_WON = 0.995
GRADIENT_GONE = 0.01  # of the largest that the run has seen
DIVERSITY_LOST = 0.3  # of the largest that the run has seen


def discriminator_collapsed(rows: list[dict]) -> str | None:
    """A warning where the discriminator has won: over the last COLLAPSE_IMAGES it tells real from
    fake almost always, and the generator's gradient is gone.

    `rows` is the history, oldest first, with `images`, `accuracy_real`, `accuracy_fake` and
    `grad_norm_g`.
    """
    if not rows or rows[-1]["images"] < COLLAPSE_IMAGES:
        return None
    since = rows[-1]["images"] - COLLAPSE_IMAGES
    gone = GRADIENT_GONE * max(_value(row, "grad_norm_g") for row in rows)
    if not all(
        min(_value(row, "accuracy_real"), _value(row, "accuracy_fake")) >= ACCURACY_WON
        and _value(row, "grad_norm_g") <= gone
        for row in rows
        if row["images"] > since
    ):
        return None
    return (
        f"the discriminator has been right on all images for {COLLAPSE_IMAGES:,} images, and the "
        "generator learns nothing from it any more. Try a lower "
        "train.learning_rate_discriminator, or a smaller networks.discriminator_width"
    )


def modes_collapsed(rows: list[dict]) -> str | None:
    """A warning where the images of a fixed sample of z have become alike.

    `rows` is the history, oldest first, with `diversity`: the standard deviation of a pixel over
    the sample's images, averaged over the pixels, in units of 0 to 255.
    """
    found = [_value(row, "diversity") for row in rows]
    most = max(found, default=0.0)
    if not rows or found[-1] >= DIVERSITY_LOST * most:
        return None
    return (
        f"the generated images have become alike: their diversity is {found[-1]:.1f}, "
        f"from {most:.1f} at best. Look at the grids; a lower learning rate or an earlier "
        "checkpoint may help"
    )


def _value(row: dict, column: str) -> float:
    """A row may be of another version, or of somebody else."""
    return row[column] if is_number(row.get(column)) else 0.0


# What a training is watched for: each is given the history and gives a warning or None.
WARNINGS = (discriminator_collapsed, modes_collapsed)
