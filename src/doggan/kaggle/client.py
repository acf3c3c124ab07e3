"""Kaggle's official client, fit for a command line: imported late, quiet, patient, discreet.

Importing `kaggle` authenticates, and prints a page of help where there are no credentials; its
calls have no time limit and are not repeated. All of that is dealt with here, once.
"""

import base64
import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from doggan.support.background import in_background
from doggan.support.errors import DogganError, InputError

if TYPE_CHECKING:
    from kaggle import KaggleApi
    from requests import RequestException

T = TypeVar("T")

TOKEN_HELP = (
    "make an API token at https://www.kaggle.com/settings and save it as ~/.kaggle/kaggle.json, "
    "or set KAGGLE_USERNAME and KAGGLE_KEY"
)
ATTEMPTS = 6
ANSWER_SECONDS = 120.0
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 300.0
_NOT_TAKEN = {429, 503}  # the server did not act on the request: it may always be sent again
PASSING = {429, 500, 502, 503, 504}  # it may have acted: only questions are sent again
_SHOWN_CHARACTERS = 300
_AGAIN = "run the same command again"
_FILES_WITH_A_NAME = ("kaggle.json", "credentials.json")


class Client:
    """The official client, authenticated with the user's own credentials.

    Raises InputError without credentials; DogganError where the client is not installed, Kaggle
    does not accept the credentials, or cannot be reached.
    """

    def __init__(self):
        require_credentials()
        self._api = _attempt(connect, {}, _AGAIN)

    @property
    def user(self) -> str | None:
        """The user's name on Kaggle, where the credentials say it."""
        return self._api.config_values.get("username")

    @property
    def api(self) -> "KaggleApi":
        """The client itself, for what streams; its errors are its own (see `client_errors`)."""
        return self._api

    def ask(
        self,
        work: Callable[["KaggleApi"], T],
        refusals: Mapping[int, str] | None = None,
        *,
        patient: bool = False,
        seconds: float | None = ANSWER_SECONDS,
    ) -> T:
        """What `work` returns, given the client; repeated while Kaggle is busy (429, 503).

        `refusals` says what a status means here. `patient` also repeats it after a lost
        connection: for questions alone, as such a request may have been acted on. `seconds`
        bounds each attempt. Raises DogganError for every failure.
        """
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                return _attempt(
                    lambda: work(self._api),
                    refusals or {},
                    _AGAIN if patient else "look on Kaggle whether it arrived, before trying again",
                    retry=None if last else lambda error: _may_repeat(error, patient),
                    seconds=seconds,
                )
            except _RetryError as again:
                time.sleep(_wait(again.asked_seconds, attempt))
        raise AssertionError("the last attempt returns or raises")


class _RetryError(Exception):
    """This attempt failed in a way that another may not; `asked_seconds` is Retry-After."""

    def __init__(self, asked_seconds: float | None):
        super().__init__()
        self.asked_seconds = asked_seconds


def _attempt(
    work: Callable[[], T],
    refusals: Mapping[int, str],
    again: str,
    *,
    retry: Callable[["RequestException"], bool] | None = None,
    seconds: float | None = ANSWER_SECONDS,
) -> T:
    """Runs `work` in the background, for `seconds` at most; what it prints is dropped."""
    with client_errors(refusals, again), contextlib.redirect_stdout(io.StringIO()):
        outcome = in_background(work)
        try:
            return outcome.result(seconds)
        except TimeoutError:
            raise DogganError(f"Kaggle did not answer in {seconds:.0f} seconds; {again}") from None
        except OSError as error:  # every error of requests is one
            if retry is None or not retry(error):
                raise
            raise _RetryError(_retry_after(error)) from None


def _may_repeat(error: OSError, patient: bool) -> bool:
    import requests

    if isinstance(error, requests.HTTPError):
        return _status(error) in (PASSING if patient else _NOT_TAKEN)
    return patient and isinstance(error, requests.RequestException)


def _wait(asked_seconds: float | None, attempt: int) -> float:
    """Seconds until the next attempt: what the server asked for, or twice as long every time."""
    if asked_seconds is None:
        return _FIRST_WAIT_SECONDS * 2**attempt
    if asked_seconds > _LONGEST_WAIT_SECONDS:
        raise DogganError(
            f"Kaggle asks to wait {asked_seconds / 60:.0f} minutes; run the same command again then"
        )
    return asked_seconds


def _retry_after(error: OSError) -> float | None:
    """Seconds that the answer's Retry-After asks for, given as a number or as a date."""
    response = getattr(error, "response", None)
    text = "" if response is None else response.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


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
        import requests
    except ImportError as error:
        raise DogganError(
            f"the kaggle client cannot be used ({error}); run: pip install kaggle six"
        ) from error
    try:
        yield
    except DogganError:
        raise
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


def require_credentials() -> None:
    """Raises InputError where the client would find none (it prints a page of help then)."""
    names = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
    in_files = any((folder / name).exists() for folder in _folders() for name in names)
    in_variables = os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY")
    if not (in_files or in_variables or os.environ.get("KAGGLE_API_TOKEN")):
        raise InputError(f"no Kaggle credentials found; {TOKEN_HELP}")


def known_user() -> str | None:
    """The user's name as the environment or the file of credentials has it; nothing is asked."""
    if name := os.environ.get("KAGGLE_USERNAME"):
        return name
    for path in (folder / file for folder in _folders() for file in _FILES_WITH_A_NAME):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            name = json.loads(path.read_bytes()).get("username")
            if isinstance(name, str) and name:
                return name
    return None


def _folders() -> list[Path]:
    """Where the client looks for credentials."""
    home = Path.home() / ".kaggle"
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return [Path(os.environ.get("KAGGLE_CONFIG_DIR") or home), home, config]


def readable(text: object) -> str:
    """What Kaggle wrote, fit to be shown: one line, no secret, no signed address, not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    for secret in _secrets():
        line = line.replace(secret, "***")
    line = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", line)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]} ..."


def _secrets() -> list[str]:
    api = getattr(sys.modules.get("kaggle"), "api", None)
    values = dict(getattr(api, "config_values", {}))
    values |= {name.removeprefix("KAGGLE_").lower(): os.environ[name] for name in os.environ}
    secrets = [values.get(name) for name in ("key", "token", "api_token")]
    if values.get("username") and values.get("key"):
        pair = f"{values['username']}:{values['key']}"
        secrets.append(base64.b64encode(pair.encode()).decode())
    return [secret for secret in secrets if secret]


def _refusal(error: "RequestException", refusals: Mapping[int, str]) -> str:
    status, said = _status(error), _said(error)
    if status in refusals:
        text = refusals[status]
    elif status == 401:
        text = f"Kaggle does not accept the credentials (401); {TOKEN_HELP}"
    elif status == 429:
        text = "Kaggle asks for fewer requests (429); run the same command again in some minutes"
    elif 400 <= status < 500:
        text = f"Kaggle refuses the request ({status})"
    else:
        text = f"Kaggle answered with an error ({status}); try again later"
    return f"{text} (Kaggle says: {said})" if said else text


def _status(error: "RequestException") -> int:
    """The answer's status; Kaggle also puts one into the JSON of an answer that has 200."""
    status = getattr(error.response, "status_code", 0)
    code = _body(error).get("code")
    return code if status < 400 and isinstance(code, int) else status


def _said(error: "RequestException") -> str:
    message = _body(error).get("message")
    return readable(message) if isinstance(message, str) else ""


def _body(error: "RequestException") -> dict:
    try:
        body = error.response.json()
    except (ValueError, AttributeError):
        return {}
    return body if isinstance(body, dict) else {}
