"""The service's settings, from its environment."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from shared.auth import AuthSettings
from shared.cors import Origins
from shared.settings import ProcessSettings


def _mongodb(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must be a mongodb:// URL")
    return url


class QuerySettings(AuthSettings, ProcessSettings):
    """HOST, PORT, MONGODB_URL, MONGODB_DATABASE, CORS_ORIGINS."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8002
    """0 picks a free one."""
    mongodb_url: Annotated[SecretStr, AfterValidator(_mongodb)]
    mongodb_database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = "orders"
    cors_origins: Origins = ()
