"""The report in a real browser: Debian's Chromium, headless, driven by Playwright."""

import json
import re
import shutil

import pytest

from conftest import import_or_skip, skip_without, write
from doggan.report.page import write_report
from test_report import make_run, stats_line

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The page of one run with everything in it, of a bare one, and of four side by side."""
    folder = tmp_path_factory.mktemp("report")
    whole = make_run(folder / "a-run-with-a-rather-long-name-without-a-single-space-in-it")
    rows = [json.loads(stats_line(index)) | {"grad_norm_d": 1 / index} for index in range(1, 90)]
    write(whole / "stats.jsonl", "\n".join(map(json.dumps, rows)).encode())
    write(folder / "bare" / "recipe.toml", b"seed = 0")
    others = [
        make_run(folder / f"run-{number}", seed=number, grids=3 + number) for number in (1, 2)
    ]
    pages = {
        "one": [whole],
        "bare": [folder / "bare"],
        "several": [whole, *others, folder / "bare"],
    }
    for name, runs in pages.items():
        write_report(runs, folder / f"{name}.html")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        skip_without("chromium", "Chromium is not here; apt-get install chromium")
    sync_api = import_or_skip("playwright.sync_api", "chromium")
    with sync_api.sync_playwright() as playwright:
        # Inside a container Chromium's own sandbox has no rights to start.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, reports):
    """Opens a page offline; afterwards it must have asked for nothing and complained of nothing."""
    complaints, contexts = [], []

    def open_page(name, viewport=WIDE, **options):
        context = browser.new_context(viewport=viewport, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda it: it.type in ("error", "warning") and complaints.append(it.text)
        )
        page.on("request", lambda it: it.url.startswith("http") and complaints.append(it.url))
        page.goto(reports[name])
        page.wait_for_selector("html[data-charts=drawn]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", ["one", "bare", "several"])
def test_a_page_opens_offline_and_never_scrolls_sideways(visit, name, viewport):
    page = visit(name, viewport)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    # Not even what lies outside of a box that scrolls by itself.
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter(
            (it) => !it.closest(".scroll") && it.getBoundingClientRect().right > innerWidth + 1
        ).map((it) => it.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    assert page.locator("canvas").count() >= {"one": 6, "bare": 0, "several": 9}[name]


def test_arrow_keys_move_the_slider_and_the_pictures_with_it(visit):
    page = visit("one")
    slider, picture = page.locator("#slider"), page.locator("#frame-0")
    last = picture.get_attribute("src")
    page.locator("#play").focus()
    page.keyboard.press("Tab")
    assert slider.evaluate("it => it === document.activeElement")
    assert slider.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
    page.keyboard.press("ArrowLeft")
    assert page.locator("#shown").inner_text() == "3,000 images shown"
    assert slider.get_attribute("aria-valuetext") == "3,000 images shown"
    assert "after 3,000 real images" in picture.get_attribute("alt")
    assert picture.get_attribute("src") != last
    page.keyboard.press("Home")
    assert page.locator("#shown").inner_text() == "0 images shown"
    page.keyboard.press("End")
    assert picture.get_attribute("src") == last
    assert picture.evaluate("it => it.complete && it.naturalWidth > 0")


def test_play_goes_from_the_first_grid_to_the_last(visit):
    page = visit("one")
    page.locator("#play").focus()
    page.keyboard.press("Enter")
    assert page.locator("#shown").inner_text() == "0 images shown"
    assert page.locator("#play").inner_text() == "Pause"
    page.locator("#play:text-is('Play')").wait_for()
    assert page.locator("#shown").inner_text() == "4,000 images shown"


def test_runs_of_other_lengths_move_together(visit):
    page = visit("several")
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    captions = [page.locator(f"#caption-{run}").inner_text() for run in (0, 1, 2)]
    assert captions == ["after 3,000 images", "after 3,000 images", "after 3,000 images"]
    page.keyboard.press("End")
    captions = [page.locator(f"#caption-{run}").inner_text() for run in (0, 1, 2)]
    assert captions == ["after 4,000 images", "after 3,000 images", "after 4,000 images"]


@pytest.mark.parametrize(
    ("chart", "words"),
    [
        ("loss", r"images shown: \d+,000 discriminator: 0\.\d{3} generator: 2\.500 minutes: \d+"),
        ("accuracy", r"on photos: 75\.0 on generated images: 85\.0"),
        ("speed", r"images/s: 123\.0"),
        ("gradients", r"discriminator: 0\.\d{3}"),
        ("distances-0", r"distance: 0\.\d{3} to 0\.\d{3} images: \d+ \(\d+\.0%\)"),
        ("truncation-0", r"truncation: 0?\.8 MiFID: 55\.50 \(54\.50 to 56\.50\)"),
    ],
)
def test_charts_answer_to_the_mouse(visit, chart, words):
    page = visit("one")
    plot = page.locator(f"#{chart}")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 90)
    page.mouse.move(box["x"] + box["width"] * 0.53, box["y"] + 100)
    tooltip = page.locator(".bk-tooltip-content").first
    tooltip.wait_for(state="visible")
    assert re.search(words, " ".join(tooltip.inner_text().split()))


def test_every_picture_has_words_and_every_chart_has_a_name(visit):
    page = visit("several")
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("img").count() >= 12
    assert page.locator(".plot:not([aria-label])").count() == 0


def test_the_keyboard_reaches_everything_that_can_be_used(visit):
    page = visit("one")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("(it => it.id || it.tagName + it.textContent)(document.activeElement)")
        )
    names = " ".join(reached)
    assert {"play", "slider"} <= reached
    assert all(word in names for word in ("Skip to the content", "Images", "SUMMARYThe numbers"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_paper_in_light_and_dark(visit, scheme):
    page = visit("one", color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for selector in ("h1", "p.lead", "nav a", ".card dd", ".card dt", ".muted", ".tile.good b"):
        ink = page.locator(selector).first.evaluate("it => getComputedStyle(it).color")
        assert contrast(ink, paper) >= 4.5, selector
    assert (luminance(paper) > 0.5) == (scheme == "light")
    axis = "Bokeh.documents[0].roots()[0].below[0].major_label_text_color"
    assert contrast(page.evaluate(axis), paper) >= 4.5


def contrast(one, other):
    """WCAG 2's contrast ratio of two CSS colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    if colour.startswith("#"):
        parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    else:
        parts = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [
        part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
