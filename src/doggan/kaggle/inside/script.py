"""doggan @VERSION@ for Kaggle's Generative Dog Images: photos in, a valid images.zip out.

This one file is the whole package: settings for you to edit, the package's own sources, compressed,
and a short start that unpacks them to a temporary folder. It installs nothing and asks no network.
`doggan kernel build` generated it from sources with the SHA-256

    @SHA256@

Attach the competition's data. To be scored, attach also the organisers' Inception, which is the
data set @JUDGE@.
When it is done, images.zip lies in the output, ready to be submitted.
"""

# Settings: yours to edit; `doggan kernel push` writes them too.

RECIPE = "dogs"  # @RECIPES@, or a TOML file's path
OVERRIDES = []  # values of the recipe, such as ["train.batch_size=128", "data.crop=four"]
TIME_LIMIT = None  # such as "8h45m"; None is that when committed, and 5 minutes in the editor
SEED = 0
ONLY_ZIP = False  # True leaves images.zip and nothing else, as the rules of 2019 want
CONTINUE = None  # such as "you/doggan-dcgan": go on from its checkpoint, which is attached
INPUT = None  # the folder with the photos; None finds them among what is attached

# The package: sources and recipes as JSON, compressed by bz2, in base64.

CONTENTS_SHA256 = "@SHA256@"
CONTENTS = """
@CONTENTS@
"""

# The start.


def read_contents() -> dict[str, str]:
    """The package's files, by path; exits where this script was altered or cut short."""
    import base64
    import bz2
    import hashlib
    import json

    try:
        contents = bz2.decompress(base64.b64decode(CONTENTS))
    except (OSError, ValueError):
        contents = b""
    if hashlib.sha256(contents).hexdigest() != CONTENTS_SHA256:
        raise SystemExit("This script's contents are damaged; build it again: doggan kernel build")
    return json.loads(contents)


def unpack(folder: str) -> None:
    """Writes the package to `folder`, and makes this process import it from there."""
    import os
    import sys
    from pathlib import Path

    for name, text in read_contents().items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    # For this process, and for those that it starts, one for each GPU.
    sys.path.insert(0, folder)
    older = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, older]))
    # An editor runs this again in the same process: what it had is gone by now.
    for name in [name for name in sys.modules if name.partition(".")[0] == "doggan"]:
        del sys.modules[name]


def run() -> int:
    """Runs the competition with the package that was unpacked; returns the exit code."""
    from doggan.kaggle.inside.start import Settings, run_kernel

    return run_kernel(
        Settings(
            recipe=RECIPE,
            overrides=OVERRIDES,
            time_limit=TIME_LIMIT,
            seed=SEED,
            only_zip=ONLY_ZIP,
            goes_on_from=CONTINUE,
            photos=INPUT,
        )
    )


def main() -> int:
    """Unpacks the package, runs the competition with it, and removes it; returns the exit code."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="doggan-", ignore_cleanup_errors=True) as folder:
        unpack(folder)
        return run()


if __name__ == "__main__":
    code = main()
    if code:
        raise SystemExit(code)
