"""How tokens are verified, from the environment."""

from pathlib import Path
from typing import Self

from pydantic import HttpUrl, SecretStr, model_validator
from pydantic_settings import BaseSettings


class AuthSettings(BaseSettings):
    """JWT_SECRET (HS256) or JWKS_FILE or JWKS_URL (RS256, ES256, EdDSA), exactly one of the three.

    JWT_ISSUER and JWT_AUDIENCE are checked when given. A service's settings inherit from this.
    """

    jwt_secret: SecretStr | None = None
    jwks_file: Path | None = None
    jwks_url: HttpUrl | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None

    @model_validator(mode="after")
    def _one_way_to_verify(self) -> Self:
        given = [self.jwt_secret, self.jwks_file, self.jwks_url]
        if sum(value is not None for value in given) != 1:
            raise ValueError("exactly one of JWT_SECRET, JWKS_FILE, JWKS_URL must be set")
        if self.jwt_secret is not None and not self.jwt_secret.get_secret_value():
            raise ValueError("JWT_SECRET is empty")
        return self
