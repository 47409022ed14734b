"""`make env`: write random secrets for `docker compose` to `.env`; existing values and comments are kept.

It also creates a certificate for the brokers. The CA certificate that clients need, which is not secret, goes
to `.certificates`.
"""

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from deploy.certificates import issue
from deploy.local.tokens import token

PATH: Final = Path(__file__).parents[1] / ".env"
AUTHORITY: Final = PATH.parent / ".certificates" / "kafka-ca.pem"
_HOSTS: Final = ("kafka", "kafka-2", "kafka-3", "localhost")
_KAFKA_USERS: Final = ("BROKER", "TOPICS", "RELAY", "REPUBLISH", "PROJECTION", "SUBSCRIBER")


def completed(given: dict[str, str]) -> dict[str, str]:
    """`given` plus whatever is missing; the projection's token is signed with the JWT secret."""
    fresh = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "MONGODB_PASSWORD": secrets.token_urlsafe(24),
        "MONGODB_KEY": secrets.token_hex(128),
        "JWT_SECRET": secrets.token_urlsafe(48),
        **{f"KAFKA_{user}_PASSWORD": secrets.token_urlsafe(24) for user in _KAFKA_USERS},
        "GRAFANA_PASSWORD": secrets.token_urlsafe(24),
    }
    values = fresh | given
    values.setdefault(
        "PERSONAL_DATA_TOKEN", token(values["JWT_SECRET"], "projection", "personal-data", days=3650)
    )
    return values


def certified(given: dict[str, str], authority: Path) -> dict[str, str]:
    """`given` with the brokers' certificate and key; reissued if either or the authority is missing."""
    names = ("KAFKA_TLS_CERTIFICATE", "KAFKA_TLS_KEY")
    if authority.exists() and all(name in given for name in names):
        return given
    issued = issue(_HOSTS, ("127.0.0.1",))
    authority.parent.mkdir(exist_ok=True)
    authority.write_text(issued.authority)
    authority.chmod(0o644)  # the containers run as other users
    # one line each, which Kafka accepts too
    lines = (text.strip().replace("\n", " ") for text in (issued.certificate, issued.key))
    return given | dict(zip(names, lines, strict=True))


def merged(lines: Iterable[str], values: Mapping[str, str]) -> Iterator[str]:
    """The lines with these values, then what they lack; comments stay where they are."""
    missing = dict(values)
    for line in lines:
        name = line.partition("=")[0]
        yield f"{name}={missing.pop(name)}" if name in missing else line
    yield from (f"{name}={value}" for name, value in missing.items())


def main() -> None:
    """Write the files; the secrets are readable only by their owner."""
    lines = PATH.read_text().splitlines() if PATH.exists() else []
    parted = (line.partition("=") for line in lines if not line.startswith("#"))
    values = completed({name: value for name, equals, value in parted if equals})
    values = certified(values, AUTHORITY)
    fresh = PATH.with_name(".env.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{line}\n" for line in merged(lines, values))
    fresh.replace(PATH)
    print(f"{PATH.name} contains {len(values)} values")


if __name__ == "__main__":
    main()
