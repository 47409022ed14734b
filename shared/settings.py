"""Reads a process's settings from its environment and reports all that is invalid at once."""

import sys
from typing import Any, TypeVar

from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.telemetry import LogFormat, LogLevel

S = TypeVar("S", bound=BaseSettings)


class ProcessSettings(BaseSettings):
    """The settings of every process: LOG_LEVEL, LOG_FORMAT."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    log_level: LogLevel = "info"
    log_format: LogFormat = "text"

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def read_settings(settings: type[S]) -> S:
    """The settings; if they are invalid, ends the process with status 2 and one line per variable."""
    try:
        return settings()
    except ValidationError as error:
        print("Invalid configuration:", file=sys.stderr)
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            variable = "_".join(str(part) for part in detail["loc"]).upper()
            message = "must be set" if detail["type"] == "missing" else detail["msg"]
            print(f"  {variable}: {message.removeprefix('Value error, ')}", file=sys.stderr)
        raise SystemExit(2) from None
