"""kernel-metadata.json is held against every rule before anything is sent."""

import json
from pathlib import Path

import pytest

from doggan.competition import JUDGE_DATASET
from doggan.kaggle import metadata as module
from doggan.kaggle.metadata import (
    DEFAULTS,
    Kernel,
    fill_metadata,
    find_problems,
    load_metadata,
    parse_kernel,
    require_valid,
    save_metadata,
)
from doggan.support.errors import DogganError, InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "doggan_kernel.py").write_text("print('woof')\n")
    return tmp_path


def test_the_defaults_lack_a_user_and_nothing_else(folder):
    metadata = load_metadata(folder)
    assert find_problems(metadata, folder) == [
        "the id names no user yet; say --user NAME, as in kaggle.com/NAME"
    ]
    assert find_problems(fill_metadata(metadata, user="someone"), folder) == []


def test_what_is_filled_in(folder):
    filled = fill_metadata(
        load_metadata(folder), user="someone", title="Dogs, my dogs!", datasets=["a/weights"]
    )
    assert filled == {
        **DEFAULTS,
        "id": "someone/dogs-my-dogs",
        "title": "Dogs, my dogs!",
        "dataset_sources": ["a/weights", JUDGE_DATASET],
    }
    assert find_problems(filled, folder) == []
    expected = {
        "code_file": "doggan_kernel.py",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "machine_shape": "NvidiaTeslaT4",
        "competition_sources": ["generative-dog-images"],
    }
    assert expected.items() <= filled.items()


def test_filling_leaves_the_rest_and_the_original_alone():
    metadata = {**DEFAULTS, "id": "someone/other-dogs", "title": "Other dogs", "keywords": ["gan"]}
    assert fill_metadata(metadata) == metadata
    again = fill_metadata(metadata, user="another")
    assert again == {**metadata, "id": "another/other-dogs"}
    assert metadata["id"] == "someone/other-dogs"


def test_saved_and_loaded_it_is_the_same(folder):
    metadata = fill_metadata(load_metadata(folder), user="someone", datasets=["a/weights"])
    path = save_metadata(metadata, folder)
    assert load_metadata(folder) == json.loads(path.read_bytes()) == metadata


def test_the_file_of_the_repository_lacks_a_user_at_most(folder):
    metadata = load_metadata(Path(__file__).parents[1] / "kernel")
    assert find_problems(fill_metadata(metadata, user="someone"), folder) == []


def test_a_file_that_leaves_things_out_gets_the_safe_defaults(folder):
    # Kaggle's own default would switch the internet on.
    (folder / "kernel-metadata.json").write_text('{"id": "someone/doggan-dcgan"}')
    assert load_metadata(folder)["enable_internet"] is False
    assert find_problems(load_metadata(folder), folder) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "doggan-dcgan"}, "expected OWNER/SLUG"),
        ({"id": "someone/doggan-dcgan/3"}, "without a version"),
        ({"id": 7}, "the kernel is called 7"),
        ({"id": "some one/doggan-dcgan"}, "'some one' is no user name"),
        ({"id": "../doggan-dcgan"}, "'..' is no user name"),
        ({"id": "someone/Doggan-DCGAN"}, "'Doggan-DCGAN' is no slug"),
        ({"id": "someone/dogs", "title": "Dogs!"}, "the slug 'dogs' is too short"),
        ({"title": "Dogs"}, "the title 'Dogs' is too short; Kaggle wants 5 characters or more"),
        ({"title": "Other dogs"}, "becomes the slug 'other-dogs'"),
        ({"title": None}, "the title is None"),
        ({"code_file": "../doggan_kernel.py"}, "expected the name of a script beside"),
        ({"code_file": "missing.py"}, "missing.py does not exist; run: doggan kernel build"),
        ({"code_file": "empty.py"}, "empty.py is empty"),
        ({"language": "r"}, "language is 'r'; expected 'python'"),
        ({"kernel_type": "notebook"}, "kernel_type is 'notebook'; expected 'script'"),
        ({"code_file": "dogs.ipynb"}, "dogs.ipynb does not exist; run: doggan kernel build --note"),
        (
            {"code_file": "dogs.ipynb"},
            "kernel_type is 'script'; expected 'notebook' for dogs",
        ),
        ({"is_private": "yes"}, "is_private is 'yes'; expected true or false"),
        ({"enable_gpu": None}, "enable_gpu is None; expected true or false"),
        ({"enable_tpu": True}, "a session has one of them"),
        ({"enable_internet": True}, "enable_internet is true; the competition's kernels run"),
        ({"enable_gpu": False}, "machine_shape is NvidiaTeslaT4 and enable_gpu is false"),
        ({"dataset_sources": "a/b"}, "dataset_sources is 'a/b'; expected a list"),
        ({"dataset_sources": ["weights"]}, "dataset_sources holds 'weights'; expected OWNER/SLUG"),
        ({"competition_sources": []}, "lacks 'generative-dog-images'"),
        ({"competition_sources": ["a/b"]}, "competition_sources holds 'a/b'; expected SLUG"),
        ({"kernel_sources": ["a/b"]}, "kernel_sources holds 'a/b'; expected OWNER/SLUG"),
        ({"model_sources": ["a/b/c"]}, "expected OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"),
        ({"machine_shape": "two T4"}, "expected a name such as NvidiaTeslaT4"),
        ({"machine_shape": "NvidiaTeslaP100"}, "which Kaggle has retired; use NvidiaTeslaT4"),
        ({"machine_shape": "nvidiateslap100"}, "which Kaggle has retired; use NvidiaTeslaT4"),
        ({"machine_shape": "TPUv38"}, "which Kaggle has retired; use TpuV5E8"),
        ({"machine_shape": "NvidiaTeslaT5"}, "unknown to Kaggle; use one of NvidiaTeslaT4, "),
        ({"machine_shape": "TpuV6E8"}, "machine_shape is TpuV6E8 and enable_tpu is false"),
        ({"docker_image_pinning_type": "newest"}, "expected 'original' or 'latest'"),
        ({"enable_interent": False}, "'enable_interent' is no key of Kaggle's"),
    ],
)
def test_every_rule_has_its_own_message(folder, change, message):
    (folder / "empty.py").touch()
    metadata = {**DEFAULTS, "id": "someone/doggan-dcgan", **change}
    assert [problem for problem in find_problems(metadata, folder) if message in problem]
    with pytest.raises(InputError, match=r"kernel-metadata\.json: "):
        require_valid(metadata, folder)


@pytest.mark.parametrize(
    "change",
    [
        {"machine_shape": "nvidiaL4"},
        {"machine_shape": ""},
        {"machine_shape": "TpuV5E8", "enable_tpu": True, "enable_gpu": False},
        {"docker_image": "gcr.io/kaggle-gpu-images/python@sha256:0"},  # as pulled metadata has
    ],
)
def test_what_kaggle_takes_is_no_problem(folder, change):
    assert find_problems({**DEFAULTS, "id": "someone/doggan-dcgan", **change}, folder) == []


def test_a_kernel_that_goes_on_has_its_own_output():
    metadata = {**DEFAULTS, "kernel_sources": ["someone/other"]}
    filled = fill_metadata(metadata, user="someone", goes_on=True)
    assert filled["kernel_sources"] == ["someone/other", "someone/doggan-dcgan"]
    assert fill_metadata(filled, goes_on=True) == filled
    assert fill_metadata(filled)["kernel_sources"] == ["someone/other"]
    assert fill_metadata(filled, judge=False)["dataset_sources"] == []


def test_all_broken_rules_are_named_at_once(folder):
    metadata = {**DEFAULTS, "title": "Dogs", "enable_internet": True}
    with pytest.raises(InputError, match=r"--user NAME.*5 characters.*enable_internet is true"):
        require_valid(metadata, folder)


@pytest.mark.parametrize("sources", [["a/b"], ["a/b/3"], []])
def test_data_sets_may_name_a_version(folder, sources):
    metadata = {**DEFAULTS, "id": "someone/doggan-dcgan", "dataset_sources": sources}
    assert find_problems(metadata, folder) == []


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        (DEFAULTS["title"], "doggan-dcgan"),
        ("Ärger & Hündchen", "arger-hundchen"),
        ("  a -- b  ", "a-b"),
        ("Dogs: 64x64", "dogs-64x64"),
    ],
)
def test_the_slug_is_the_clients_own(title, slug):
    assert module.slugify(title) == slug
    assert fill_metadata(DEFAULTS, user="someone", title=title)["id"] == f"someone/{slug}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds a list; expected an object"),
        ("\xff", "cannot be read as JSON"),
        ("[" * 50_000, "cannot be read as JSON"),
        (f'"{"x" * 100_000}"', "is over 100,000 bytes"),
    ],
)
def test_a_file_that_is_no_metadata(tmp_path, text, message):
    (tmp_path / "kernel-metadata.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        load_metadata(tmp_path)


def test_where_it_cannot_be_written(folder):
    with pytest.raises(DogganError, match="cannot write"):
        save_metadata(dict(DEFAULTS), folder / "doggan_kernel.py")


def test_a_kernels_name():
    kernel = parse_kernel("someone/doggan-dcgan")
    assert kernel == Kernel(owner="someone", slug="doggan-dcgan")
    assert str(kernel) == "someone/doggan-dcgan"
    assert kernel.page == "https://www.kaggle.com/code/someone/doggan-dcgan"
    for wrong in (
        "doggan",
        "a/b/c",
        "someone/dogs",
        "someone/../x",
        "someone/doggan-dcgan/0",
        "/doggan-dcgan",
        "a b/doggan",
    ):
        with pytest.raises(InputError, match=r"names no kernel|is no (user name|slug)|the slug"):
            parse_kernel(wrong)
