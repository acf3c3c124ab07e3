"""The kit chooses: averages and truncations, by one half of the reference, inside the deadline."""

import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from doggan.gan.averages import estimate_batch_norm, load_averages
from doggan.gan.checkpoint import read_checkpoint
from doggan.gan.generator_file import load_generator
from doggan.gan.networks import make_networks
from doggan.gan.run_folder import CHECKPOINT
from doggan.gan.sampler import latents, sample_seeds
from doggan.gan.trainer import train
from doggan.pipeline import Job, run_competition
from doggan.recipe import NetworksRecipe, Recipe, with_value
from doggan.scoring.choice import (
    FEWEST_IMAGES,
    MOST_IMAGES,
    TIME_SHARE,
    Choice,
    choose_generator,
    images_to_judge,
    seconds_to_choose,
    truncations,
)
from doggan.scoring.features import extract_features
from doggan.scoring.mifid import score_features
from doggan.scoring.plan import ScoringPlan
from doggan.scoring.reference import Reference
from doggan.support.deadline import Deadline
from doggan.support.errors import InputError
from test_features import make_judge

NETWORKS = NetworksRecipe(latent=6, generator_width=4, discriminator_width=4)


def network(seed, **changes):
    generator, _ = make_networks(
        replace(NETWORKS, **changes), side=16, channels=3, label_count=3, seed=seed
    )
    with torch.no_grad():  # louder than at first, so that images differ
        for parameter in generator.parameters():
            parameter.mul_(8)
    return generator.eval()


def make_plan(reference, *, seconds_an_image=0.1, mathematics_seconds=0.5):
    return ScoringPlan(
        judge=replace(make_judge(), eps=1e-9),  # mean colours are always alike
        reference=reference,
        count=1_000,
        seconds_an_image=seconds_an_image,
        mathematics_seconds=mathematics_seconds,
        manifolds_seconds=100.0,  # which a choice does without
    )


@pytest.fixture
def recipe():
    return with_value(Recipe(), "train.ema_parts", [0.05, 0.2])


@pytest.fixture
def plan(tmp_path):
    """Its reference are images of `network(1)`, of seeds that nobody is judged by, at 1.15."""
    target = network(1)
    estimate_batch_norm(target)
    images = np.concatenate(list(sample_seeds(target, range(1000, 1600), 1.15)))
    return make_plan(Reference(images, "made", cache=tmp_path / "cache"))


def choose(recipe, plan, deadline=None):
    averages = [network(0), network(1)]
    return choose_generator(averages, recipe, plan, 400, deadline or Deadline(None)), averages


def test_the_best_average_and_truncation_are_taken(recipe, plan):
    (choice, generator), averages = choose(recipe, plan)
    assert generator is averages[1]
    assert (choice.chosen.half_life_part, choice.chosen.truncation) == (0.2, 1.15)
    assert len(choice.candidates) == 2 * 4
    assert (choice.candidates[0].half_life_part, choice.candidates[0].truncation) == (0.05, 1.0)
    assert choice.chosen.mifid == min(candidate.mifid for candidate in choice.candidates)
    assert choice.chosen_mifid_of_other_half < choice.own_mifid_of_other_half
    lines = choice.table().splitlines()
    assert " ".join(lines[0].split()) == "half-life z x 0.9 z x 1 z x 1.15 z x 1.3"
    assert [line.split()[0] for line in lines[1:3]] == ["5.0%", "20.0%"]
    assert "taken: half-life 20.0% of the run, z x 1.15" in lines[3]
    assert Choice.from_dict(asdict(choice)) == choice


def test_a_rival_that_is_better_is_taken(recipe, plan):
    own, rivals = [network(0), network(2)], [network(3), network(1)]
    choice, generator = choose_generator(own, recipe, plan, 400, Deadline(None), rivals)
    assert generator is rivals[1]
    assert choice.chosen.rival
    assert len(choice.candidates) == 4 * 4
    lines = choice.table().splitlines()
    assert [line.split("   ")[0].strip() for line in lines[3:5]] == ["5.0% rival", "20.0% rival"]
    assert "taken: half-life 20.0% of the rival's run, z x 1.15" in lines[5]
    # What competes is judged within the same time.
    few = images_to_judge(plan, recipe, 2, Deadline(4_000.0), print)
    assert few == pytest.approx(images_to_judge(plan, recipe, 1, Deadline(2_000.0), print), abs=2)


def test_one_half_of_the_reference_decides_and_the_other_reports(recipe, plan):
    (choice, generator), _ = choose(recipe, plan)
    features = plan.reference.features(plan.judge)
    images = np.concatenate(list(sample_seeds(generator, range(400), 1.15)))
    found = extract_features(images, plan.judge)
    eps = plan.judge.eps
    assert choice.chosen.mifid == score_features(found, features[::2], eps).mifid
    other = score_features(found, features[1::2], eps).mifid
    assert choice.chosen_mifid_of_other_half == other != choice.chosen.mifid


def test_once_the_deadline_is_over_the_recipes_own_is_taken(recipe, plan):
    (choice, generator), averages = choose(recipe, plan, Deadline(0.0))
    assert generator is averages[0]
    assert [candidate.truncation for candidate in choice.candidates] == [1.0]
    assert choice.chosen_mifid_of_other_half == choice.own_mifid_of_other_half


def test_as_many_images_are_judged_as_their_share_of_the_time_allows(recipe):
    said = []
    reference = Reference(np.zeros((4, 8, 8, 3), np.uint8), "made")
    plan = make_plan(reference, seconds_an_image=0.01, mathematics_seconds=0.5)
    assert images_to_judge(plan, recipe, 1, Deadline(None), said.append) == MOST_IMAGES
    few = with_value(recipe, "submission.count", 20)
    assert images_to_judge(plan, few, 1, Deadline(None), said.append) == 20
    limit = 8 * (0.5 + 0.01 * 800) / TIME_SHARE  # for 800 images of each of 8 candidates
    images = images_to_judge(plan, recipe, 1, Deadline(limit), said.append)
    assert images == pytest.approx(800, abs=2)
    assert seconds_to_choose(plan, recipe, 1, images) <= TIME_SHARE * limit
    assert not said
    short = 8 * (0.5 + 0.01 * (FEWEST_IMAGES - 10)) / TIME_SHARE
    assert images_to_judge(plan, recipe, 1, Deadline(short), said.append) == 0
    assert images_to_judge(plan, recipe, 1, Deadline(1.0), said.append) == 0
    assert len(said) == 2
    assert "too short" in said[0]


def test_truncations_stay_in_range():
    assert truncations(Recipe()) == [1.0, 0.9, 1.15, 1.3]
    assert truncations(with_value(Recipe(), "submission.truncation", 1.9)) == [1.9, 1.71]
    assert truncations(with_value(Recipe(), "submission.truncation", 0.0)) == [0.0]


@pytest.mark.parametrize("conditional", [False, True])
def test_batch_norm_is_estimated_from_the_generators_own_images(conditional):
    generator = network(3, conditional=conditional)
    weights = [weight.clone() for weight in generator.parameters()]
    norm = next(module for module in generator.modules() if isinstance(module, nn.BatchNorm2d))
    seen = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    estimate_batch_norm(generator)
    assert not generator.training
    assert all(map(torch.equal, weights, generator.parameters()))
    seen.clear()
    z, labels = latents(range(1000), 6), torch.arange(1000) % 3
    with torch.inference_mode():
        generator(z, labels)
    plain = (seen[0] - norm.bias[:, None, None]) / norm.weight[:, None, None]
    assert plain.mean((0, 2, 3)).abs().max() < 0.01
    assert (plain.std((0, 2, 3)) - 1).abs().max() < 0.02
    before = norm.running_var.clone()
    estimate_batch_norm(generator)
    assert torch.equal(norm.running_var, before)


def test_averages_are_those_of_the_checkpoint(tiny_set, tiny_recipe, tmp_path):
    train(tiny_set, tmp_path, with_value(tiny_recipe, "train.ema_parts", [0.05, 0.5]))
    averages = load_averages(tmp_path, "cpu")
    saved = read_checkpoint(tmp_path / CHECKPOINT)["emas"]
    for number, average in enumerate(averages):
        for name, value in average.state_dict().items():
            assert torch.equal(value, saved[f"{number}.{name}"])
    own, _ = load_generator(tmp_path, "cpu")
    assert all(map(torch.equal, own.parameters(), averages[0].parameters()))
    content = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del content["emas"]["0.layers.0.weight"]
    torch.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match="does not fit the generator beside it"):
        load_averages(tmp_path, "cpu")


@pytest.mark.parametrize("strict", [False, True])
def test_the_zip_is_of_what_was_chosen(photos, tiny_recipe, tmp_path, strict):
    recipe = with_value(tiny_recipe, "submission.choose", not strict)
    folder = tmp_path / "run"
    job = Job(
        folder=folder,
        recipe=recipe,
        deadline=Deadline(None),
        sources=[photos],
        judge="efficientnet-lite0",
        say=lambda line: None,
    )
    choice = run_competition(job).choice
    assert (choice is None) == strict
    generator, kept = load_generator(folder, "cpu")
    assert kept.submission.truncation == (1.0 if strict else choice.chosen.truncation)
    with zipfile.ZipFile(folder / "images.zip") as archive:
        names = sorted(archive.namelist())
        zipped = np.stack([np.asarray(Image.open(archive.open(name))) for name in names])
    made = np.concatenate(list(sample_seeds(generator, range(20), kept.submission.truncation)))
    assert np.array_equal(zipped, made)
