"""Reads a process's settings from its environment and, if they don't fit, tells all that is wrong at once."""

import sys
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

S = TypeVar("S", bound=BaseSettings)


def read_settings(settings: type[S]) -> S:
    """The settings; ends the process with status 2, and one line per variable, when they don't fit."""
    try:
        return settings()
    except ValidationError as error:
        print("The environment does not fit:", file=sys.stderr)
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            variable = "_".join(str(part) for part in detail["loc"]).upper()
            message = "must be set" if detail["type"] == "missing" else detail["msg"]
            print(f"  {variable}: {message.removeprefix('Value error, ')}", file=sys.stderr)
        raise SystemExit(2) from None
