"""A kernel's log: what the console gets, the file gets, and no bar fills it."""

import sys

from tqdm import tqdm

from doggan.kaggle.inside.log import PROGRESS_SECONDS, Log


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_lines_go_to_the_console_and_the_file_with_the_time(tmp_path, capsys):
    clock = Clock()
    log = Log(tmp_path / "log", clock)
    log("first")
    clock.now = 245
    log("second\nand more")
    log.close()
    text = (tmp_path / "log").read_text("utf-8")
    assert text == "    0s  first\n 4m05s  second\n        and more\n"
    assert capsys.readouterr().out == text


def test_what_lies_beside_the_log_is_named_without_its_folder(tmp_path, capsys):
    log = Log(tmp_path / "log", Clock())
    log(f"{tmp_path}/run/images.zip: valid\n{tmp_path} and {tmp_path}x/y")
    log.close()
    assert capsys.readouterr().out == (
        f"    0s  run/images.zip: valid\n        {tmp_path} and {tmp_path}x/y\n"
    )


def test_a_bar_becomes_a_line_a_minute_and_its_end(tmp_path):
    clock = Clock()
    log = Log(tmp_path / "log", clock)
    with log.instead_of_stderr(), tqdm(total=360, desc="train", mininterval=0) as bar:
        for _ in range(360):
            clock.now += 1
            bar.update()
    log.close()
    lines = (tmp_path / "log").read_text("utf-8").splitlines()
    assert 360 / PROGRESS_SECONDS <= len(lines) <= 360 / PROGRESS_SECONDS + 1
    assert all("train:" in line for line in lines)
    assert "360/360" in lines[-1]


def test_a_bar_inside_a_bar_does_not_fill_the_log(tmp_path):
    log = Log(tmp_path / "log", Clock())
    with log.instead_of_stderr(), tqdm(total=1, desc="outer", mininterval=0) as outer:
        with tqdm(total=50, desc="inner", mininterval=0) as inner:
            for _ in range(50):
                inner.update()
        outer.update()
    log.close()
    lines = (tmp_path / "log").read_text("utf-8").splitlines()
    assert len(lines) <= 4
    assert any("50/50" in line for line in lines)
    assert "outer: 100%" in lines[-1]


def test_warnings_come_whole_and_at_once(tmp_path):
    log = Log(tmp_path / "log", Clock())
    with log.instead_of_stderr():
        print("a ", "warning", file=sys.stderr, sep="")
        print("\nanother", file=sys.stderr)
    log.close()
    lines = (tmp_path / "log").read_text("utf-8").splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == ["a warning", "another"]
