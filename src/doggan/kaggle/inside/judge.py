"""Who scores inside a kernel: a network whose weights are attached or installed."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from doggan.competition import JUDGE_DATASET, JUDGE_GRAPH
from doggan.kaggle.inside.inputs import Inputs
from doggan.support.errors import DogganError

HOW_TO = (
    f"To be scored as on Kaggle's board, attach the data set {JUDGE_DATASET}, which holds "
    f"{JUDGE_GRAPH} (doggan kernel push does; in the editor: Add Input, Datasets)."
)


def choose_judge(inputs: Inputs, log: Callable[[str], None]) -> tuple[str, Path | None]:
    """The judge to score with and its weights: never one that would have to be downloaded.

    The first whose weights are attached, or that is installed with them; else `none`. Unless it is
    Kaggle's own, the log says how to attach that one's weights.
    """
    from doggan.scoring.judges import JUDGES

    for name, module in ((name, import_module(path)) for name, path in JUDGES.items()):
        if not hasattr(module, "are_weights"):
            with suppress(DogganError):
                module.find_weights()
                log(f"Judge: {name}, which is installed. {HOW_TO}")
                return name, None
        elif weights := inputs.find_file(partial(_are_weights, module, log)):
            log(f"Judge: {name}, by {weights}")
            return name, weights
    log(f"Judge: none, so there will be no score. {HOW_TO}")
    return "none", None


def _are_weights(module: ModuleType, log: Callable[[str], None], path: Path) -> bool:
    try:
        return module.are_weights(path)
    except Exception as error:  # a foreign file fails in whatever part of its reader meets it
        log(f"{path} is passed over: {error}")
        return False
