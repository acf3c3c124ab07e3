"""Which average of the generator, at which truncation: the best by the judge, before the zip.

Candidates are judged on one half of the reference. Whatever is best of many is a little lucky, so
what it is worth is told by the other half.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from doggan.gan.averages import estimate_batch_norm
from doggan.gan.networks import Generator
from doggan.recipe import MAX_TRUNCATION, Recipe
from doggan.scoring.mifid import score_features
from doggan.scoring.plan import ScoringPlan
from doggan.scoring.score import sampled_features
from doggan.support.deadline import Deadline

TRUNCATIONS = (1.0, 0.9, 1.15, 1.3)  # times the recipe's own, which comes first
TIME_SHARE = 0.05  # choosing may take no more than this part of the time that is left
# Images of each candidate: with fewer, chance decides.
FEWEST_IMAGES, MOST_IMAGES = 500, 2_000


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An average by its half-life, in parts of the run, at a truncation; `mifid` is against the
    half of the reference that decides. `rival` is of the training of another seed, see
    `doggan.gan.rival`."""

    half_life_part: float
    truncation: float
    mifid: float
    rival: bool = False

    @property
    def name(self) -> str:
        """The average, in short."""
        return f"{self.half_life_part:.1%}{' rival' if self.rival else ''}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The candidates, the recipe's own first, of each of which `images` were judged; the best; and
    the MiFID of both against the other half of the reference."""

    images: int
    candidates: list[Candidate]
    chosen: Candidate
    own_mifid_of_other_half: float
    chosen_mifid_of_other_half: float

    @classmethod
    def from_dict(cls, content: dict) -> "Choice":
        """What `dataclasses.asdict` made; raises KeyError or TypeError where it is none."""
        candidates = [Candidate(**candidate) for candidate in content["candidates"]]
        chosen = Candidate(**content["chosen"])
        return cls(**content | {"candidates": candidates, "chosen": chosen})

    def table(self) -> str:
        """MiFID by average and truncation, and what the choice is worth."""
        names = dict.fromkeys(candidate.name for candidate in self.candidates)
        truncations = sorted({candidate.truncation for candidate in self.candidates})
        found = {(one.name, one.truncation): one.mifid for one in self.candidates}
        width = max(map(len, ("half-life", *names)))
        header = "half-life".ljust(width)
        lines = [header + "".join(f"{f'z x {value:g}':>10}" for value in truncations)]
        for name in names:
            row = (found.get((name, truncation)) for truncation in truncations)
            cells = ("-" if mifid is None else f"{mifid:.2f}" for mifid in row)
            lines.append(name.rjust(width) + "".join(f"{cell:>10}" for cell in cells))
        chosen = self.chosen
        run = "the rival's run" if chosen.rival else "the run"
        return "\n".join(lines) + (
            f"\ntaken: half-life {chosen.half_life_part:.1%} of {run}, z x "
            f"{chosen.truncation:g}; by the other half of the reference its MiFID is "
            f"{self.chosen_mifid_of_other_half:.2f}, of the recipe's own "
            f"{self.own_mifid_of_other_half:.2f}"
        )


def truncations(recipe: Recipe) -> list[float]:
    """Those of the candidates, the recipe's own first."""
    found = (round(recipe.submission.truncation * factor, 6) for factor in TRUNCATIONS)
    return list(dict.fromkeys(value for value in found if value <= MAX_TRUNCATION))


def images_to_judge(
    plan: ScoringPlan,
    recipe: Recipe,
    trainings: int,
    deadline: Deadline,
    say: Callable[[str], None],
) -> int:
    """How many images of each candidate there is time for, of so many trainings; 0, which is said,
    where too few."""
    most = min(MOST_IMAGES, recipe.submission.count)
    candidates = trainings * _candidates(recipe)
    seconds = TIME_SHARE * deadline.remaining() / candidates - plan.mathematics_seconds
    count = int(min(most, max(0.0, seconds) / plan.seconds_an_image))
    if count >= min(FEWEST_IMAGES, most):
        return count
    say("  too short a run to choose by: the recipe's own average and truncation are taken")
    return 0


def seconds_to_choose(plan: ScoringPlan, recipe: Recipe, trainings: int, images: int) -> float:
    """How long choosing by so many images of each candidate of so many trainings takes."""
    seconds = images * plan.seconds_an_image + plan.mathematics_seconds
    return trainings * _candidates(recipe) * seconds


def choose_generator(
    averages: Sequence[Generator],
    recipe: Recipe,
    plan: ScoringPlan,
    images: int,
    deadline: Deadline,
    rivals: Sequence[Generator] = (),
) -> tuple[Choice, Generator]:
    """Judges `images` of every average at every truncation until the deadline; the best of them.

    The averages are those of `recipe.train.ema_parts`, and so are the rivals, of another training,
    where there are any; their batch norm is estimated anew.
    Raises InputError where the judge sees nothing in the images.
    """
    features, eps = plan.reference.features(plan.judge), plan.judge.eps
    deciding, other = features[::2], features[1::2]
    candidates, own, best = [], None, None
    parts = recipe.train.ema_parts
    entries = [(part, average, False) for part, average in zip(parts, averages, strict=True)]
    if rivals:
        entries += [(part, rival, True) for part, rival in zip(parts, rivals, strict=True)]
    for part, average, rival in entries:
        estimate_batch_norm(average)
        for truncation in truncations(recipe):
            if candidates and deadline.expired():
                break
            found = sampled_features(average, range(images), truncation, plan.judge)
            mifid = score_features(found, deciding, eps).mifid
            candidates.append(
                Candidate(half_life_part=part, truncation=truncation, mifid=mifid, rival=rival)
            )
            if best is None or mifid < best[0].mifid:
                best = (candidates[-1], average, found)
            own = own or best
    choice = Choice(
        images=images,
        candidates=candidates,
        chosen=best[0],
        own_mifid_of_other_half=score_features(own[2], other, eps).mifid,
        chosen_mifid_of_other_half=score_features(best[2], other, eps).mifid,
    )
    return choice, best[1]


def _candidates(recipe: Recipe) -> int:
    return len(recipe.train.ema_parts) * len(truncations(recipe))
