"""Settings from the environment. Each process reads only what it needs."""

from pathlib import Path
from typing import Annotated, Literal, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr, UrlConstraints, model_validator
from pydantic_core import Url

from shared.auth import AuthSettings
from shared.cors import Origins
from shared.settings import ProcessSettings
from shared.topics import DEFAULT_PARTITIONS

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 picks a free one."""


def _postgres(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must be a postgresql:// URL")
    try:
        conninfo_to_dict(url.get_secret_value())
    except (ProgrammingError, UnicodeDecodeError):
        # the original message quotes what it is about, usually the password
        raise ValueError(
            "cannot be parsed: special characters in the password must be percent-encoded"
        ) from None
    return url


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres)]
HttpUrl = Annotated[Url, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)]

UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
UserPassword = Annotated[SecretStr, Field(min_length=16)]
Role = Literal["relay", "republish", "projection", "subscriber"]
"""What a Kafka user is for: one of our processes, or another team that reads the events."""


class ServingSettings(ProcessSettings):
    """Where a process serves HTTP: HOST, PORT."""

    host: str = "127.0.0.1"
    port: Port = 8001


class StoreSettings(ProcessSettings):
    """Where the events are stored: POSTGRES_URL."""

    postgres_url: PostgresUrl


class KafkaSettings(ProcessSettings):
    """Where the topics are, and how to authenticate: KAFKA_BOOTSTRAP_SERVERS and the security settings."""

    kafka_bootstrap_servers: Annotated[str, Field(min_length=1)]
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: Path | None = None

    @model_validator(mode="after")
    def _some_user(self) -> Self:
        who = (self.kafka_sasl_username, self.kafka_sasl_password)
        if self.kafka_security_protocol.startswith("SASL") and None in who:
            raise ValueError("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD must be set")
        return self


class SchemaSettings(ProcessSettings):
    """SCHEMA_BASE_URL: the absolute URL under which the event schemas are served."""

    schema_base_url: HttpUrl = Url("http://127.0.0.1:8001")

    @property
    def schema_base(self) -> str:
        """The URL without a trailing slash."""
        return str(self.schema_base_url).rstrip("/")


class ApiSettings(AuthSettings, ServingSettings, StoreSettings, SchemaSettings):
    """The command API. COMMAND_WRITERS is the number of connections that group commands into commits."""

    cors_origins: Origins = ()
    command_writers: Annotated[int, Field(ge=1, le=32)] = 2


class RelaySettings(ServingSettings, StoreSettings, KafkaSettings, SchemaSettings):
    """The relay. RELAY_SHARDS is how many publishers may run in parallel, across all relay processes."""

    port: Port = 8003
    relay_shards: Annotated[int, Field(ge=1, le=64)] = 1


class RepublishSettings(StoreSettings, KafkaSettings, SchemaSettings):
    """The job that republishes the history to the topics."""


class TopicsSettings(KafkaSettings, StoreSettings):
    """The job that creates and repairs the topics. TOPIC_PARTITIONS can never change: keys would move.

    TOPIC_REPLICAS and TOPIC_MIN_INSYNC_REPLICAS default to the brokers' own configuration.
    KAFKA_USERS lists all users with any access, `{"relay": "relay", "billing": "subscriber"}`; without it
    the brokers' ACLs are left unchanged. KAFKA_USER_PASSWORDS, `{"billing": "..."}`, sets passwords.
    """

    topic_partitions: Annotated[int, Field(ge=1, le=10_000)] = DEFAULT_PARTITIONS
    topic_replicas: Annotated[int, Field(ge=1, le=100)] | None = None
    topic_min_insync_replicas: Annotated[int, Field(ge=1, le=100)] | None = None
    kafka_users: dict[UserName, Role] | None = None
    kafka_user_passwords: dict[UserName, UserPassword] = Field(default_factory=dict)
