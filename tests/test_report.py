"""The report of a run folder: what it shows, what it survives, and how large it may get."""

import base64
import io
import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from conftest import encode, write
from doggan.cli.main import main
from doggan.gan.pictures import evenly_spaced, make_grid
from doggan.report import page as report_module
from doggan.report.charts import MAX_POINTS, draw_curves, draw_histogram
from doggan.report.facts import headline
from doggan.report.images import cut_pairs, encode_within, read_picture
from doggan.report.page import MAX_BYTES, MAX_RUNS, render, write_report
from doggan.report.read import RunRecord
from doggan.support.errors import DogganError, InputError
from test_compare import CARD as SCORECARD

CARD = SCORECARD.as_dict()
RECIPE = "seed = 3\n[train]\nbatch_size = 48\nflip = true\n[submission]\ncount = 4\n"


def make_run(folder, *, seed=0, grids=5, **changes):
    """A run folder such as `doggan run` leaves, with everything that a report shows."""
    random = np.random.default_rng(seed)
    write(folder / "recipe.toml", RECIPE.encode())
    write_json(folder / "environment.json", {"device": "cpu", "doggan": "0.1.0", "cores": 2})
    counts = {"images": 80, "photos": 60, "skipped": {"box too small": 3}}
    manifest = {"source": "photos.zip", "crop": "square", "counts": counts, "label_names": ["a"]}
    write_json(folder / "set" / "manifest.json", manifest)
    write(folder / "stats.jsonl", "".join(map(stats_line, range(1, grids + 1))).encode())
    for index in range(grids):
        write(folder / "grids" / f"{1000 * index:09d}.png", grid(random))
    write(folder / "grid.png", grid(random))
    write_json(folder / "scorecard.json", CARD | changes)
    write_json(folder / "neighbours.json", NEIGHBOURS)
    tiles = random.integers(0, 256, (4, 32, 32, 3), np.uint8)
    write(folder / "neighbours-pairs.png", encode(make_grid(tiles, 2), "PNG"))
    write_json(folder / "truncation.json", SWEEP)
    submission = {"path": "x", "images": 3, "expected": 4, "problems": {"bad": list("abcdefg")}}
    training = {"stopped_by": "time limit"}
    write_json(folder / "result.json", {"submission": submission, "training": training})
    return folder


def write_json(path, value):
    write(path, json.dumps(value).encode())


def stats_line(index):
    row = {"images": 1000 * index, "seconds": 7.5 * index, "loss_d": 1.3 / index, "loss_g": 2.5}
    row |= {"accuracy_real": 0.75, "accuracy_fake": 0.85, "images_per_second": 123.0}
    return json.dumps(row) + "\n"


def grid(random, size=(60, 30)):
    pixels = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
    return encode(Image.fromarray(pixels), "PNG")


NEIGHBOURS = {
    "verdict": "no penalty: 0.31, eps 0.21",
    "mean": 0.31,
    "eps": 0.21,
    "judge": "efficientnet-lite0",
    "notice": "",
    "reference": "photos.zip",
    "generated_images": 10,
    "reference_images": 80,
    "histogram": {"counts": [1, 2, 7], "edges": [0.1, 0.21, 0.32, 0.43]},
    "pairs": [
        {"generated": 4, "reference": 9, "reference_name": "dog_9.jpg", "distance": 0.1234},
        {"generated": 2, "reference": 1, "reference_name": None, "distance": 0.25},
    ],
}


def sweep_entry(mifid):
    span = [mifid - 1, mifid + 1]
    return {"scorecard": {"mifid": mifid, "mifid_interval": span, "fid": mifid, "distance": 0.3}}


SWEEP = {
    "truncations": [0.6, 0.8, 1.0],
    "conditions": {
        "judge": "efficientnet-lite0",
        "generated_images": 10,
        "reference_images": 80,
        "reference": "photos.zip",
    },
    "entries": [sweep_entry(61.0), sweep_entry(55.5), sweep_entry(57.25)],
}


class Page(HTMLParser):
    """A page taken apart: its text, tags and scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self.words, self._inside = [], [], [], ""
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(*folders):
    return Page(render([RunRecord(folder, folder.name) for folder in folders]))


def test_the_headline_tells_the_machine_and_what_it_computed_in(tmp_path):
    folder = make_run(tmp_path / "run")
    machine = {"device": "cpu", "hardware": "a chip, bf16", "precision": "bf16"}
    write_json(folder / "environment.json", machine)
    words = headline(RunRecord(folder, "run"))
    assert words.startswith("5,000 images shown in ")
    assert words.endswith(" on cpu, a chip, bf16, computing in bf16")


def test_a_page_says_what_the_folder_holds(tmp_path):
    folder = make_run(tmp_path / "dogs")
    result = write_report([folder], folder / "report.html")
    page = Page((folder / "report.html").read_text("utf-8"))
    assert (result.runs, result.notes) == (["dogs"], [])
    for words in (
        "5,000 images shown",
        "time limit",
        "size 48",
        "photos.zip",
        "box too small: 3",
        "device cpu",
        f"{CARD['mifid']:.2f}",
        f"95%: {CARD['mifid_interval'][0]:.2f} to {CARD['mifid_interval'][1]:.2f}",
        "No penalty: 0.31, eps 0.21",
        "dog_9.jpg",
        "Best: 0.8 , MiFID 55.50",
        "within noise of it: 1.",
        "not valid images.zip: 3 images of 4",
        "bad: a, b, c, d, e and 2 more",
    ):
        assert words in page.text
    assert "Not measured" not in page.text


def test_precision_and_recall_are_shown_where_they_were_measured(tmp_path):
    known = {"manifold_precision": 0.71, "manifold_recall": 0.234}
    alone = page_of(make_run(tmp_path / "a", **known)).text
    assert "Precision 0.710 of the generated images look like real ones" in alone
    assert "Recall 0.234 of the real images look like generated ones" in alone
    assert "look like real ones" not in page_of(make_run(tmp_path / "b")).text
    both = page_of(tmp_path / "a", tmp_path / "b").text
    assert "0.710 0.234 10,000" in both
    assert "- - 10,000" in both


def test_nothing_comes_from_elsewhere_and_the_code_is_there_once(tmp_path):
    page = page_of(make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1))
    links = [value for tag, it in page.tags for key, value in it.items() if key in ("src", "href")]
    assert links
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in links)
    assert not page.all("link")
    policy = next(it["content"] for it in page.all("meta") if "http-equiv" in it)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert sum(len(script) > 500_000 for script in page.scripts) == 1


def test_every_picture_and_chart_says_what_it_shows(tmp_path):
    page = page_of(make_run(tmp_path / "dogs"))
    assert len(page.all("img")) == 4
    assert all(len(it["alt"]) > 20 and int(it["width"]) > 0 for it in page.all("img"))
    charts = [it for it in page.all("div") if it.get("role") == "img"]
    assert len(charts) == 5
    assert all(re.search(r"\d", it["aria-label"]) for it in charts)


def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path):
    write(tmp_path / "my run" / "recipe.toml", RECIPE.encode())
    page = page_of(tmp_path / "my run")
    path = re.escape(f"'{tmp_path / 'my run'}'")
    for command in (
        f"Not measured ; run: doggan neighbours {path} --reference PHOTOS",
        f"Not measured ; run: doggan score {path} --truncation 0.6:1.2:0.1 --reference PHOTOS",
        f"Not scored ; run: doggan score {path} --reference PHOTOS --out ",
        f"No images.zip ; run: doggan zip {path}",
    ):
        assert re.search(command.replace(" ;", " ?;"), page.text)
    assert not page.all("img")


def test_runs_stand_side_by_side_and_what_differs_is_marked(tmp_path):
    one = make_run(tmp_path / "one")
    other = make_run(tmp_path / "other", seed=1, mifid=90.0, mifid_interval=[89.0, 91.0])
    write(other / "recipe.toml", RECIPE.replace("48", "64").encode())
    html = render([RunRecord(folder, folder.name) for folder in (one, other)])
    rows = re.findall(r'<tr( class="differs")?><th scope="row">(.*?)</th>', html)
    marked = {name for differs, name in rows if differs}
    assert "train.batch_size" in marked
    assert "train.flip" not in marked
    page = Page(html)
    assert "2 runs side by side" in page.text
    ranking = next(it for it in page.all("div") if it.get("id") == "ranking-0")
    assert "other: 90.00, 89.00 to 91.00" in ranking["aria-label"]


def test_scores_that_do_not_compare_are_not_drawn_together(tmp_path):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", judge="another")]
    page = page_of(*folders)
    assert not any(it.get("id") == "ranking-0" for it in page.all("div"))
    assert "they differ in judge" in page.text


@pytest.mark.parametrize(
    "evil",
    ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><b>', "\ud800"],
)
def test_what_a_folder_says_stays_text(tmp_path, evil):
    folder = make_run(tmp_path / "dogs", judge=evil if evil.isprintable() else "x", notice="")
    clean = [tag for tag, _ in page_of(make_run(tmp_path / "clean")).tags]
    write_json(folder / "environment.json", {"device": evil, evil: "x"})
    write_json(folder / "neighbours.json", NEIGHBOURS | {"reference": evil, "verdict": evil})
    write_json(folder / "set" / "manifest.json", {"source": evil, "counts": {"skipped": {evil: 1}}})
    toml_name = json.dumps(evil.replace("\ud800", "x"))
    write(folder / "recipe.toml", f"{RECIPE}\n[x]\n{toml_name} = {toml_name}".encode())
    write_report([folder], tmp_path / "out.html")
    page = Page((tmp_path / "out.html").read_text("utf-8"))
    tags = [tag for tag, _ in page.tags]
    assert {tag: tags.count(tag) for tag in ("script", "img", "b")} == {
        tag: clean.count(tag) for tag in ("script", "img", "b")
    }
    assert not any(key.startswith("on") for _, it in page.tags for key in it)


def test_a_name_in_the_charts_data_does_not_end_their_script(tmp_path):
    names = ["</script><b>", "other"]
    runs = [RunRecord(make_run(tmp_path / str(i)), name) for i, name in enumerate(names)]
    html = render(runs)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert "<" not in data[1]
    assert names[0] in json.dumps(json.loads(data[1]))


DAMAGE = {
    "stats.jsonl": b'{"images": 1000, "loss_d": NaN}\nnothing\n[]\n{"images": "many"}',
    "environment.json": b"[1",
    "neighbours.json": b'{"verdict": "fine", "histogram": []}',
    "truncation.json": json.dumps(SWEEP | {"truncations": [1]}).encode(),
    "set/manifest.json": b"\xff",
    "scorecard.json": b'{"mifid": 1}',
    "grid.png": b"GIF89a",
    "neighbours-pairs.png": encode(Image.new("RGB", (10, 99)), "PNG"),
    "grids/000001000.png": b"",
    "result.json": b'{"submission": {"problems": 7}}',
    "images.zip": b"PK",
    "recipe.toml": b"seed = ",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_a_note_on_the_page(tmp_path, name):
    folder = make_run(tmp_path / "dogs")
    write(folder / name, DAMAGE[name])
    result = write_report([folder], tmp_path / "out.html")
    assert len(result.notes) == 1
    word = {"neighbours-pairs.png": "pairs", "result.json": "submission"}.get(name, name[-12:])
    assert word in result.notes[0]
    assert "not everything in the run folder could be used" in (tmp_path / "out.html").read_text()


def test_lines_of_stats_may_lack_keys_and_hold_what_is_not_finite(tmp_path):
    folder = make_run(tmp_path / "dogs")
    lines = [
        {"images": 1000, "loss_d": 1.0, "seconds": 5, "grad_norm_d": 0.5},
        {"images": 2000, "loss_g": float("inf"), "loss_d": float("nan")},
        {"images": 3000, "loss_d": 0.5, "memory_bytes": 2_000_000_000},
    ]
    write(folder / "stats.jsonl", "\n".join(map(json.dumps, lines)).encode())
    run = RunRecord(folder, "dogs")
    charts = {chart.key: chart for chart in draw_curves([run])}
    assert list(charts) == ["loss", "gradients", "memory"]
    assert "discriminator: from 1 to 0.5" in charts["loss"].alt
    assert "memory: from 2 to 2" in charts["memory"].alt
    assert run.notes == []
    render([run])


def test_a_column_that_no_drawn_row_has_makes_no_chart(tmp_path):
    folder = make_run(tmp_path / "dogs")
    rows = [json.loads(stats_line(index)) for index in range(1, 2 * MAX_POINTS)]
    rows[1]["memory_bytes"] = 5
    write(folder / "stats.jsonl", "\n".join(map(json.dumps, rows)).encode())
    charts = draw_curves([RunRecord(folder, "dogs")])
    assert [chart.key for chart in charts] == ["loss", "accuracy", "speed"]


def test_a_histogram_tells_what_lies_below_eps(tmp_path):
    run = RunRecord(make_run(tmp_path / "dogs"), "dogs")
    chart = draw_histogram(run.nearest, "distances")
    assert "10 distances: mean 0.31, eps 0.21, 1 of them below eps" in chart.alt


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = make_run(tmp_path / "dogs")
    secret = write(tmp_path / "secret.json", b'{"password": "hunter2"}')
    (folder / "environment.json").unlink()
    (folder / "environment.json").symlink_to(secret)
    result = write_report([folder], tmp_path / "out.html")
    assert "leads out of the run folder" in result.notes[0]
    assert "hunter2" not in (tmp_path / "out.html").read_text()


def test_a_zip_in_the_folder_is_checked_now(tmp_path):
    import zipfile

    folder = make_run(tmp_path / "dogs")
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for index in range(4):
            picture = Image.new("RGB", (64, 64), (index, 0, 0))
            archive.writestr(f"{index}.png", encode(picture, "PNG"))
    page = page_of(folder)
    assert "valid images.zip: 4 images of 4 , every one" in page.text.replace("4,", "4 ,")
    assert "Checked as this page was made." in page.text


@pytest.mark.parametrize("runs", [1, 3])
def test_600_grids_of_noise_stay_under_5_mb(tmp_path, runs):
    noise = grid(np.random.default_rng(0), size=(662, 332))
    assert len(noise) > 500_000
    frame = write(tmp_path / "noise.png", noise)
    folders = []
    for number in range(runs):
        folder = make_run(tmp_path / f"run{number}", grids=0)
        (folder / "grids").mkdir()
        (folder / "grid.png").write_bytes(noise)
        write(folder / "stats.jsonl", "".join(map(stats_line, range(1, 601))).encode())
        for index in range(600):
            os.link(frame, folder / "grids" / f"{index * 20_000:09d}.png")
        folders.append(folder)
    result = write_report(folders, tmp_path / "out.html")
    assert result.bytes == (tmp_path / "out.html").stat().st_size < MAX_BYTES
    html = (tmp_path / "out.html").read_text()
    frames = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])["training"]
    assert [len(of_run) > 10 for of_run in frames] == [True] * runs
    assert {of_run[-1]["images"] for of_run in frames} == {599 * 20_000}
    assert {of_run[0]["images"] for of_run in frames} == {0}


def test_a_picture_gives_way_until_it_fits():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    sizes = {}
    for most in (200_000, 20_000, 1_500):
        picture = encode_within(Image.fromarray(noise), most)
        data = base64.b64decode(picture.source.partition(",")[2])
        assert len(data) <= most
        with Image.open(io.BytesIO(data)) as decoded:
            assert decoded.size == (picture.width, picture.height)
        sizes[most] = picture.width
    assert sizes[200_000] == 256 > sizes[1_500]


def test_a_picture_too_large_to_decode_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "p.png", encode(Image.new("RGB", (300, 300)), "PNG"))
    monkeypatch.setattr("doggan.report.images.MAX_PIXELS", 89_999)
    with pytest.raises(InputError, match="over 89,999 pixels"):
        read_picture(path)


def test_pairs_are_cut_where_they_were_put():
    tiles = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    rows = cut_pairs(make_grid(tiles, 2), 3)
    for number, row in enumerate(rows):
        pixels = np.asarray(row)
        assert (pixels[:, :8] == tiles[2 * number]).all()
        assert (pixels[:, -8:] == tiles[2 * number + 1]).all()
    with pytest.raises(InputError, match="not of the pairs"):
        cut_pairs(make_grid(tiles, 2), 2)


@pytest.mark.parametrize("size", [(5, 4), (6, 6)])
def test_a_picture_too_narrow_for_pairs_is_refused(size):
    with pytest.raises(InputError, match="not of the pairs"):
        cut_pairs(Image.new("RGB", size), 2)


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (600, 36), (3, 2)])
def test_evenly_spaced_keeps_both_ends(count, most):
    items = list(range(count))
    shown = evenly_spaced(items, most)
    assert len(shown) == min(count, most)
    assert (shown[0], shown[-1]) == (0, count - 1)
    assert np.ptp(np.diff(shown)) <= 1 if len(shown) > 1 else True
    assert evenly_spaced([], most) == []


def test_the_command_writes_into_the_run_or_where_it_is_told(tmp_path, capsys, monkeypatch):
    one, two = make_run(tmp_path / "a" / "dogs"), make_run(tmp_path / "b" / "dogs")
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(one)]) == 0
    assert "report.html: " in capsys.readouterr().out
    assert (one / "report.html").is_file()
    assert main(["report", str(one), str(two), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["runs"] == [str(one)[-60:], str(two)[-60:]]  # alike in their last names
    assert (tmp_path / "report.html").stat().st_size == result["bytes"]
    assert main(["report", str(one), "--out", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").is_file()


@pytest.mark.parametrize("what", ["nowhere", "empty", "file"])
def test_what_is_no_run_is_one_line(tmp_path, capsys, what):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "file", b"x")
    assert main(["report", str(tmp_path / what)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{what} is not a run folder: it holds no recipe.toml" in error


def test_too_many_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match=f"9 runs were given; a report holds 1 to {MAX_RUNS}"):
        write_report([tmp_path] * 9, tmp_path / "out.html")


def test_a_failure_leaves_the_previous_page(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "dogs")
    out = write(tmp_path / "out.html", b"before")

    def fail(*_):
        raise DogganError("no")

    monkeypatch.setattr(report_module, "render", fail)
    with pytest.raises(DogganError, match="no"):
        write_report([folder], out)
    assert out.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".partial"] == []
