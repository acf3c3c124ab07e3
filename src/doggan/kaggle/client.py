"""Kaggle's official client, fit for a command line: imported late, quiet, patient, discreet.

Importing `kaggle` authenticates, and prints a page of help where there are no credentials; its
calls have no time limit and are not repeated. All of that is dealt with here, once.
"""

import contextlib
import io
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import requests

from doggan.kaggle.credentials import TOKEN_HELP, readable, require_credentials
from doggan.support.background import in_background
from doggan.support.errors import DogganError
from doggan.support.transfer import ATTEMPTS, PASSING, wait_seconds

if TYPE_CHECKING:
    from kaggle import KaggleApi
    from kagglesdk.kaggle_client import KaggleClient

T = TypeVar("T")

ANSWER_SECONDS = 120.0
_NOT_TAKEN = {429, 503}  # the server did not act on the request: it may always be sent again
_AGAIN = "run the same command again"
_REFUSALS = {
    401: f"Kaggle does not accept the credentials (401); {TOKEN_HELP}",
    429: "Kaggle asks for fewer requests (429); run the same command again in some minutes",
}


class Client:
    """The official client, authenticated with the user's own credentials.

    `api` is the client itself, for what streams; its errors are its own (see `client_errors`).
    Raises InputError without credentials; DogganError where the client is not installed, Kaggle
    does not accept the credentials, or cannot be reached.
    """

    def __init__(self):
        with client_errors({}, _AGAIN):
            self.api = _in_time(connect, ANSWER_SECONDS, _AGAIN)

    @property
    def user(self) -> str | None:
        """The user's name on Kaggle, where the credentials say it."""
        return self.api.config_values.get("username")

    def ask(
        self,
        work: Callable[["KaggleApi"], T],
        refusals: Mapping[int, str] | None = None,
        *,
        patient: bool = False,
        bounded: bool = True,
    ) -> T:
        """What `work` returns, given the client; repeated while Kaggle is busy (429, 503).

        `refusals` says what a status means here. `patient` also repeats it after a lost
        connection: for questions alone, as such a request may have been acted on. `bounded`
        gives each attempt ANSWER_SECONDS. Raises DogganError for every failure.
        """
        again = _AGAIN if patient else "look on Kaggle whether it arrived, before trying again"
        seconds = ANSWER_SECONDS if bounded else None
        with client_errors(refusals or {}, again):
            for attempt in itertools.count(1):
                try:
                    return _in_time(lambda: work(self.api), seconds, again)
                except requests.RequestException as error:
                    if attempt == ATTEMPTS or not _may_pass(error, patient):
                        raise
                    wait = wait_seconds(attempt, error, "Kaggle")
                time.sleep(wait)

    def ask_sdk(
        self, question: Callable[["KaggleClient"], T], refusals: Mapping[int, str] | None = None
    ) -> T:
        """Like a patient `ask`, of the client's lower half, which takes requests as objects."""

        def work(api):
            with api.build_kaggle_client() as sdk:
                return question(sdk)

        return self.ask(work, refusals, patient=True)


def connect() -> "KaggleApi":
    """The official client, authenticated. Its own errors pass: run it under `client_errors`.

    Raises InputError without credentials, DogganError where the client cannot be imported.
    """
    require_credentials()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import kaggle
    except ImportError as error:
        raise DogganError(
            f"the kaggle client cannot be used ({error}); run: pip install kaggle six"
        ) from error
    # With VERBOSE in the environment the client prints its requests, Authorization included.
    kaggle.api.args = [argument for argument in kaggle.api.args if argument != "--verbose"]
    kaggle.api.authenticate()
    return kaggle.api


@contextlib.contextmanager
def client_errors(refusals: Mapping[int, str], again: str) -> Iterator[None]:
    """What the client raises, as a DogganError that names neither credentials nor addresses.

    `refusals` says what a status of HTTP means here; `again` what to do after a lost connection.
    """
    try:
        yield
    # Not one of these texts is shown: they can name signed addresses.
    except SystemExit:
        raise DogganError(f"Kaggle does not accept the credentials; {TOKEN_HELP}") from None
    except requests.HTTPError as error:
        raise DogganError(_refusal(error, refusals)) from None
    except requests.RequestException as error:
        raise DogganError(
            f"the connection to Kaggle failed ({type(error).__name__}); check the network and "
            f"{again}"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DogganError(
            f"the kaggle client stumbled over Kaggle's answer ({type(error).__name__}); run "
            "the same command again, or update the client: pip install -U kaggle"
        ) from None


def _in_time(work: Callable[[], T], seconds: float | None, again: str) -> T:
    """Runs `work` in the background, for `seconds` at most; what it prints is dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            return in_background(work).result(seconds)
        except TimeoutError:
            raise DogganError(f"Kaggle did not answer in {seconds:.0f} seconds; {again}") from None


def _may_pass(error: requests.RequestException, patient: bool) -> bool:
    if isinstance(error, requests.HTTPError):
        return _answer(error)[0] in (PASSING if patient else _NOT_TAKEN)
    return patient


def _refusal(error: requests.HTTPError, refusals: Mapping[int, str]) -> str:
    status, said = _answer(error)
    text = {**_REFUSALS, **refusals}.get(status)
    if text is None and 400 <= status < 500:
        text = f"Kaggle refuses the request ({status})"
    elif text is None:
        text = f"Kaggle answered with an error ({status}); try again later"
    return f"{text} (Kaggle says: {said})" if said else text


def _answer(error: requests.HTTPError) -> tuple[int, str]:
    """The answer's status and what it says; Kaggle puts both into the JSON of a 200, too."""
    status = getattr(error.response, "status_code", 0)
    try:
        body = error.response.json()
        code, message = body.get("code"), body.get("message")
    except (ValueError, AttributeError):
        return status, ""
    if status < 400 and isinstance(code, int):
        status = code
    return status, readable(message) if isinstance(message, str) else ""
