"""`make env` keeps existing values and generates missing ones."""

import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from deploy import environment
from deploy.environment import certified, completed

ROOT = Path(__file__).parents[2]


def test_existing_values_are_kept(tmp_path: Path) -> None:
    authority = tmp_path / "made" / "ca.pem"
    first = certified(completed({"JWT_SECRET": "j" * 48}), authority)
    trusted = authority.read_text()
    assert first["JWT_SECRET"] == "j" * 48
    assert certified(completed(first), authority) == first
    assert authority.read_text() == trusted


def test_every_process_has_its_own_password() -> None:
    values = completed({})
    passwords = [value for name, value in values.items() if name.endswith("_PASSWORD")]
    assert len(set(passwords)) == len(passwords)
    assert min(map(len, passwords)) >= 16


def test_the_brokers_certificate_is_signed_by_the_stored_authority(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    values = certified({}, authority)
    authority.unlink()
    again = certified(values, authority)
    assert again["KAFKA_TLS_KEY"] != values["KAFKA_TLS_KEY"], (
        "the old certificate belongs to another authority"
    )
    line = again["KAFKA_TLS_CERTIFICATE"]
    assert "\n" not in line
    head, body, end = line.replace("----- ", "-----\n").replace(" -----", "\n-----").split("\n")
    certificate = x509.load_pem_x509_certificate("\n".join((head, *body.split(" "), end)).encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.read_bytes()))


def test_the_file_is_private_and_sets_every_variable_that_compose_requires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "PATH", tmp_path / ".env")
    monkeypatch.setattr(environment, "AUTHORITY", tmp_path / ".certificates" / "kafka-ca.pem")
    environment.main()
    written = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    environment.main()
    assert (tmp_path / ".env").read_text() == written
    asked = {
        name
        for path in (ROOT / "docker-compose.yml", *(ROOT / "deploy").glob("compose.*.yml"))
        for name in re.findall(r"\$\{(\w+):\?run make env\}", path.read_text())
    }
    assert asked == {line.partition("=")[0] for line in written.splitlines()}


def test_the_users_own_lines_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PATH", tmp_path / ".env")
    monkeypatch.setattr(environment, "AUTHORITY", tmp_path / ".certificates" / "kafka-ca.pem")
    (tmp_path / ".env").write_text("# behind the proxy\nCOMMAND_PORT=9001\n\nJWT_SECRET=a=b\n")
    environment.main()
    written = (tmp_path / ".env").read_text()
    assert written.startswith("# behind the proxy\nCOMMAND_PORT=9001\n\nJWT_SECRET=a=b\nPOSTGRES_PASSWORD=")
    environment.main()
    assert (tmp_path / ".env").read_text() == written


def test_git_ignores_the_secrets() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    asked = ["git", "-c", f"safe.directory={ROOT}", "check-ignore", ".env", ".certificates/kafka-ca.pem"]
    assert subprocess.run(asked, cwd=ROOT, capture_output=True, check=False).returncode == 0
