"""The user's credentials on Kaggle: whether there are any, and that none is ever shown."""

import base64
import contextlib
import json
import os
import re
import sys
from pathlib import Path

from doggan.support.errors import InputError

TOKEN_HELP = (
    "make an API token at https://www.kaggle.com/settings and save it as ~/.kaggle/kaggle.json, "
    "or set KAGGLE_USERNAME and KAGGLE_KEY"
)
_FILES = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
_FILES_WITH_A_NAME = ("kaggle.json", "credentials.json")
_SHOWN_CHARACTERS = 300


def require_credentials() -> None:
    """Raises InputError where the client would find none (it prints a page of help then)."""
    in_files = any((folder / name).exists() for folder in _folders() for name in _FILES)
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


def readable(text: object) -> str:
    """What Kaggle wrote, fit to be shown: one line, no secret, no signed address, not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    for secret in _secrets():
        line = line.replace(secret, "***")
    line = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", line)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]} ..."


def _folders() -> list[Path]:
    """Where the client looks for credentials."""
    home = Path.home() / ".kaggle"
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return [Path(os.environ.get("KAGGLE_CONFIG_DIR") or home), home, config]


def _secrets() -> list[str]:
    api = getattr(sys.modules.get("kaggle"), "api", None)
    config = getattr(api, "config_values", {})
    names = ("username", "key", "token", "api_token")
    user, *secrets = (os.environ.get(f"KAGGLE_{n.upper()}") or config.get(n) for n in names)
    if user and secrets[0]:
        secrets.append(base64.b64encode(f"{user}:{secrets[0]}".encode()).decode())
    return [secret for secret in secrets if secret]
