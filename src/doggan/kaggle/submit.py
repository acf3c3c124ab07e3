"""A kernel's version as an entry of the competition, and its score."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from doggan.competition import RULES_URL, SLUG
from doggan.kaggle.client import Client
from doggan.kaggle.credentials import readable
from doggan.kaggle.metadata import Kernel
from doggan.kaggle.session import POLL_SECONDS
from doggan.support.errors import DogganError


@dataclass(frozen=True, kw_only=True)
class BoardEntry:
    """An entry on the board; scores are Kaggle's own text, empty while there is none."""

    reference: int
    status: str
    public_score: str
    private_score: str
    message: str

    @property
    def over(self) -> bool:
        return self.status != "pending"

    @property
    def failed(self) -> bool:
        return self.status == "error"

    def summary(self) -> str:
        if self.failed:
            return f"submission {self.reference}: failed: {self.message or 'no reason given'}"
        named = (("public", self.public_score), ("private", self.private_score))
        scores = [f"{name} score {score}" for name, score in named if score]
        return f"submission {self.reference}: {', '.join(scores) or self.status + ', no score yet'}"


def submit(client: Client, kernel: Kernel, *, version: int, file: str, message: str) -> BoardEntry:
    """Enters the file `file` of the kernel's version; returns the entry as it stands at once.

    A post whose answer was lost is not repeated, as it may have arrived.
    """
    refusals = {
        403: "Kaggle refuses the submission (403). Known causes: the competition's rules are not "
        f"accepted ({RULES_URL}); the API token lacks the scope to submit; the day's submissions "
        "are used up; the competition takes no late entries. By hand it is done, or refused with a "
        f"reason, on the kernel's page, under Output: {kernel.page}",
        404: f"Kaggle knows no version {version} of {kernel} with a file '{file}' (404)",
    }
    post = (file, message, SLUG, str(kernel), version)
    answer = client.ask(lambda api: api.competition_submit_code(*post, quiet=True), refusals)
    if not answer.ref:
        reason = readable(answer.message) or "no reason given"
        raise DogganError(f"Kaggle took no submission: {reason}")
    return board_entry(client, answer.ref)


def board_entry(client: Client, reference: int) -> BoardEntry:
    """The entry as it stands now."""
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest

    request = ApiGetSubmissionRequest()
    request.ref = reference
    answer = client.ask_sdk(
        lambda sdk: sdk.competitions.competition_api_client.get_submission(request)
    )
    return BoardEntry(
        reference=reference,
        status=answer.status.name.lower(),
        public_score=readable(answer.public_score),
        private_score=readable(answer.private_score),
        message=readable(answer.error_description),
    )


def wait_for_score(client: Client, entry: BoardEntry, tell: Callable[[str], None]) -> BoardEntry:
    """Asks every 30 seconds until the entry is scored or has failed."""
    if not entry.over:
        tell(f"{entry.summary()}; waiting")
    while not entry.over:
        time.sleep(POLL_SECONDS)
        entry = board_entry(client, entry.reference)
    return entry
