"""How tokens are verified, from the environment."""

from pathlib import Path
from typing import Any, Final, Self

from pydantic import HttpUrl, ModelWrapValidatorHandler, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

WAYS: Final = ("jwt_secret", "jwks_file", "jwks_url")


class AuthSettings(BaseSettings):
    """JWT_SECRET (HS256) or JWKS_FILE or JWKS_URL (RS256, ES256, EdDSA), exactly one of the three.

    JWT_ISSUER and JWT_AUDIENCE are checked when given. A service's settings inherit from this.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True)

    jwt_secret: SecretStr | None = None
    jwks_file: Path | None = None
    jwks_url: HttpUrl | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _one_way_to_verify(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # wraps the fields' own checks, so that all errors are reported at once
        problems: list[InitErrorDetails] = []
        given = [name for name in WAYS if data.get(name)]
        if len(given) != 1:
            message = f"exactly one of {', '.join(WAYS).upper()} must be set"
            kind = PydanticCustomError("one_way_to_verify", "{message}", {"message": message})
            problems.append(InitErrorDetails(type=kind, loc=("jwt_secret",), input=None))
        try:
            settings = handler(data)
        except ValidationError as error:
            problems += [_again(detail) for detail in error.errors()]
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return settings


def _again(detail: ErrorDetails) -> InitErrorDetails:
    kind = PydanticCustomError("invalid", "{message}", {"message": detail["msg"]})
    return InitErrorDetails(type=kind, loc=detail["loc"], input=None)
