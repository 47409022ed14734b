"""The service's settings, from its environment."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.auth import AuthSettings
from shared.telemetry import LogFormat, LogLevel


def _mongodb(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must be a mongodb:// URL")
    return url


class QuerySettings(AuthSettings):
    """LOG_LEVEL, LOG_FORMAT, HOST, PORT, MONGODB_URL, MONGODB_DATABASE, CORS_ORIGINS; `AuthSettings`."""

    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8002
    """0 picks a free one."""
    mongodb_url: Annotated[SecretStr, AfterValidator(_mongodb)]
    mongodb_database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = "orders"
    cors_origins: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(\*|https?://[^/\s,]+)$")], ...], NoDecode
    ] = ()

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _comma_list(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part for part in (item.strip().rstrip("/") for item in value.split(",")) if part)
