"""`make env`: what is there stays, what is missing is made."""

from pathlib import Path

from cryptography import x509

from deploy.environment import certified, completed


def test_what_is_there_stays(tmp_path: Path) -> None:
    authority = tmp_path / "made" / "ca.pem"
    first = certified(completed({"JWT_SECRET": "j" * 48}), authority)
    trusted = authority.read_text()
    assert first["JWT_SECRET"] == "j" * 48
    assert certified(completed(first), authority) == first
    assert authority.read_text() == trusted


def test_every_process_has_a_password_of_its_own() -> None:
    values = completed({})
    passwords = [value for name, value in values.items() if name.endswith("_PASSWORD")]
    assert len(set(passwords)) == len(passwords)
    assert min(map(len, passwords)) >= 16


def test_the_brokers_certificate_is_of_the_authority_beside_it(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    values = certified({}, authority)
    authority.unlink()
    again = certified(values, authority)
    assert again["KAFKA_TLS_KEY"] != values["KAFKA_TLS_KEY"], "it cannot be signed by another authority"
    line = again["KAFKA_TLS_CERTIFICATE"]
    assert "\n" not in line
    head, body, end = line.replace("----- ", "-----\n").replace(" -----", "\n-----").split("\n")
    certificate = x509.load_pem_x509_certificate("\n".join((head, *body.split(" "), end)).encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.read_bytes()))
