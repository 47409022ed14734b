"""The service's settings, read from the environment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, UrlConstraints, model_validator
from pydantic_core import Url

from shared.settings import ProcessSettings


def _mongodb(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must be a mongodb:// URL")
    return url


class ProjectionSettings(ProcessSettings):
    """HOST, PORT, MONGODB_URL, MONGODB_DATABASE, KAFKA_*, PERSONAL_DATA_*.

    The token for personal data keys is PERSONAL_DATA_TOKEN or the content of PERSONAL_DATA_TOKEN_FILE, which
    takes precedence and is read again when the token is rejected.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8004
    """0 picks a free port."""
    mongodb_url: Annotated[SecretStr, AfterValidator(_mongodb)]
    mongodb_database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = "orders"
    kafka_bootstrap_servers: Annotated[str, Field(min_length=1)]
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: Path | None = None
    personal_data_keys_url: Annotated[
        Url, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)
    ]
    personal_data_token: SecretStr | None = None
    personal_data_token_file: Path | None = None

    @model_validator(mode="after")
    def _some_token(self) -> "ProjectionSettings":
        if self.personal_data_token is None and self.personal_data_token_file is None:
            raise ValueError("PERSONAL_DATA_TOKEN or PERSONAL_DATA_TOKEN_FILE must be set")
        return self

    @model_validator(mode="after")
    def _some_user(self) -> "ProjectionSettings":
        who = (self.kafka_sasl_username, self.kafka_sasl_password)
        if self.kafka_security_protocol.startswith("SASL") and None in who:
            raise ValueError("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD must be set")
        return self

    def read_token(self) -> str:
        """The current token; `OSError` if its file cannot be read."""
        if self.personal_data_token_file is not None:
            return self.personal_data_token_file.read_text().strip()
        assert self.personal_data_token is not None
        return self.personal_data_token.get_secret_value()
