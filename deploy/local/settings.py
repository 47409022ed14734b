"""The settings of `make up`, from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LocalSettings(BaseSettings):
    """`LOCAL_DIR` holds all data; a server's URL points to an existing server instead of starting one."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    command_port: Annotated[int, Field(ge=1, le=65535)] = 8001
    query_port: Annotated[int, Field(ge=1, le=65535)] = 8002
    jwt_secret: str | None = None
    local_dir: Path = Path(".local")
    detach: bool = False
    postgres_url: str | None = None
    mongodb_url: str | None = None
    kafka_bootstrap_servers: str | None = None
