"""`doggan kernel status`: how the run does, and the GPU time left this week."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from doggan.cli.kernel import add_kernel, find_kernel
from doggan.cli.options import Outcome, Say

EXAMPLE = "doggan kernel status --wait"


def add_arguments(parser: ArgumentParser) -> None:
    add_kernel(parser)
    parser.add_argument("--wait", action="store_true", help="until the run is over")


def run(args: Namespace, say: Say) -> Outcome:
    from doggan.kaggle.client import Client
    from doggan.kaggle.session import gpu_quota, session_status, wait_for_session

    kernel, client = find_kernel(args), Client()
    status = wait_for_session(client, kernel, say) if args.wait else session_status(client, kernel)
    quota = gpu_quota(client)
    say(status.describe(quota))
    if status.over:
        say(f"next: doggan kernel {'logs' if status.failed else 'output'} {kernel}")
    return {**asdict(status), "gpu_quota": asdict(quota) if quota else None}, int(status.failed)
