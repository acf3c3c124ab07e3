#!/usr/bin/env python3
"""Campaigns that try to break training: killed at random moments, and given random time limits.

    .venv/bin/python tools/campaign.py kill --count 100
    .venv/bin/python tools/campaign.py deadline --count 50 --lanes 3

Both train on drawn dogs, in a temporary folder or in --work, and exit with 1 when a promise was
broken. With --json the last line is the result as one JSON object.

`doggan run` writes zips of 1,000 images (--zip-count), which one core makes within the shortest
limit of 20 s. A limit that is over before PyTorch is loaded tells nothing about training; such
ones are counted apart, and on a machine that is busy with other work there will be many.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from campaign_deadline import deadline
from campaign_kill import kill
from doggan.support.errors import DogganError


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="campaign.") as temporary:
            result = args.campaign(args, (args.work or Path(temporary)).absolute())
    except DogganError as error:
        print(f"campaign: {error}", file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps(result))
    return 0 if result["kept"] else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    campaigns = parser.add_subparsers(required=True, metavar="kill|deadline")
    killing = campaigns.add_parser("kill", help="SIGKILL at random moments, and --resume")
    killing.set_defaults(campaign=kill)
    limiting = campaigns.add_parser("deadline", help="random time limits")
    limiting.set_defaults(campaign=deadline)
    for campaign, count in ((killing, 100), (limiting, 50)):
        campaign.add_argument("--count", type=int, default=count, help=f"default {count}")
        campaign.add_argument("--seed", type=int, default=0, help="default 0")
        campaign.add_argument("--work", type=Path, help="keep what it makes in this empty folder")
        campaign.add_argument("--json", action="store_true", help="the last line is JSON")
    limiting.add_argument("--lanes", type=int, default=1, help="so many at once (default 1)")
    limiting.add_argument("--shortest", type=float, default=20, help="seconds (default 20)")
    limiting.add_argument("--longest", type=float, default=180, help="seconds (default 180)")
    limiting.add_argument("--zip-count", type=int, default=1000, help="images (default 1000)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
