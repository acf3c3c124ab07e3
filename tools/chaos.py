#!/usr/bin/env python3
"""Tries to break the commands: kills, limits, full disks, no memory, losses of many kinds.

    .venv/bin/python tools/chaos.py kill --count 100
    .venv/bin/python tools/chaos.py all --out tools/chaos.md

Campaigns run on drawn dogs, in a temporary folder or in --work. A promise is that every finished
file is whole, that nothing is lost but the work since the last checkpoint, that an error is one
line, and that afterwards the same command works without anyone cleaning up. Ends with 1 where one
was broken. With --json the last line is the results as one JSON object, by campaign.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from chaos_commands import kill_commands
from chaos_deadline import deadline
from chaos_faults import change_sources, diverge, fill_disk, run_out_of_memory
from chaos_kill import kill
from chaos_losses import (
    lose_a_process,
    lose_events,
    lose_rights,
    lose_the_device,
    lose_the_folder,
    lose_time,
)
from chaos_soak import soak
from doggan.support.errors import DogganError, InputError

# Name -> what it does, how often by default, and in words.
CAMPAIGNS = {
    "kill": (kill, 100, "one training killed again and again, and resumed"),
    "commands": (kill_commands, 100, "each command killed at random moments, and repeated"),
    "deadline": (deadline, 50, "trainings and runs under random time limits"),
    "disk": (fill_disk, 20, "a disk that is full at a random moment"),
    "memory": (run_out_of_memory, 20, "a limit of memory that is too low"),
    "divergence": (diverge, 50, "losses that become no number at random steps"),
    "soak": (soak, 30, "a training of so many minutes that saves every few seconds"),
    "sources": (change_sources, 10, "photos that come and go while they are read"),
    "rights": (lose_rights, 8, "a disk that may only be read"),
    "clock": (lose_time, 5, "a clock that jumps by up to a day whenever it is read"),
    "process": (lose_a_process, 10, "one of two training processes killed"),
    "folder": (lose_the_folder, 5, "two trainings in one folder"),
    "device": (lose_the_device, 10, "a GPU that is gone from a random step on"),
    "events": (lose_events, 10, "TensorBoard's events torn"),
}


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    names = list(CAMPAIGNS) if args.campaign == "all" else [args.campaign]
    results, rows = {}, ["| campaign | tried | result |", "|---|---|---|"]
    for name in names:
        function, count, words = CAMPAIGNS[name]
        args.count = args.times or count
        try:
            with tempfile.TemporaryDirectory(prefix="chaos.") as temporary:
                results[name] = function(args, (args.work or Path(temporary)).absolute())
        except InputError as error:
            print(f"chaos: {name}: {error}", file=sys.stderr)
            return error.exit_code
        except DogganError as error:  # the other campaigns are tried all the same
            results[name] = {"kept": False, "summary": f"**broken**: {error}"}
        rows.append(f"| `{name}`: {words} | {args.count} | {results[name]['summary']} |")
        print(rows[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(rows) + "\n", "utf-8")
    if args.json:
        print(json.dumps(results))
    return 0 if all(result["kept"] for result in results.values()) else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    listed = "".join(f"\n  {name:11} {words}" for name, (_, _, words) in CAMPAIGNS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\ncampaigns:{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("campaign", choices=[*CAMPAIGNS, "all"], metavar="CAMPAIGN")
    add("--count", dest="times", type=int, help="how often (default: the campaign's own)")
    add("--seed", type=int, default=0, help="where chance begins (default 0)")
    add("--work", type=Path, help="keep what one campaign makes in this empty folder")
    add("--out", type=Path, help="write the table there, as Markdown")
    add("--json", action="store_true", help="the last line is JSON")
    add("--lanes", type=int, default=1, help="of deadline: so many at once (default 1)")
    add("--shortest", type=float, default=20, help="of deadline: seconds (default 20)")
    add("--longest", type=float, default=180, help="of deadline: seconds (default 180)")
    add("--zip-count", type=int, default=1000, help="of deadline: images (default 1000)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
