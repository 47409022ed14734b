"""`make env`: random secrets for `docker compose` in `.env`; an existing one only gains what it lacks."""

import os
import secrets
from pathlib import Path
from typing import Final

from deploy.local.tokens import token

PATH: Final = Path(__file__).parents[1] / ".env"


def completed(given: dict[str, str]) -> dict[str, str]:
    """`given` and, beside it, whatever is missing; the projection's token is made with the JWT secret."""
    fresh = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "MONGODB_PASSWORD": secrets.token_urlsafe(24),
        "MONGODB_KEY": secrets.token_hex(128),
        "JWT_SECRET": secrets.token_urlsafe(48),
        "GRAFANA_PASSWORD": secrets.token_urlsafe(24),
    }
    values = fresh | given
    values.setdefault(
        "PERSONAL_DATA_TOKEN", token(values["JWT_SECRET"], "projection", "personal-data", days=3650)
    )
    return values


def main() -> None:
    """Write the file, readable by its owner only."""
    lines = PATH.read_text().splitlines() if PATH.exists() else []
    parted = (line.partition("=") for line in lines if not line.startswith("#"))
    values = completed({name: value for name, equals, value in parted if equals})
    fresh = PATH.with_name(".env.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    fresh.replace(PATH)
    print(f"{PATH.name} holds {len(values)} values")


if __name__ == "__main__":
    main()
