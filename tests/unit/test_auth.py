"""Which bearer tokens are accepted, and which principal they identify."""

import base64
import hashlib
import hmac
import json
import tracemalloc
from pathlib import Path
from typing import Any, Final

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from shared.auth import Authenticator, Principal
from shared.auth.keys import JwksFile, SharedSecret
from shared.problems import Problem

SECRET: Final = "a secret of at least thirty-two bytes"
NOW: Final = 1_800_000_000
CLAIMS: Final[dict[str, Any]] = {"sub": "ada", "roles": ["staff"], "exp": NOW + 60}


def token(key: Key, header: dict[str, Any], **changes: Any) -> bytes:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return jws.serialize_compact(header, json.dumps(claims), key, [header["alg"]]).encode()


def hs256(secret: str = SECRET, **changes: Any) -> bytes:
    return token(OctKey.import_key(secret), {"alg": "HS256"}, **changes)


def by_secret(**options: Any) -> Authenticator:
    return Authenticator(SharedSecret(SECRET), clock=lambda: NOW, **options)


async def accepted(authenticator: Authenticator, bearer: bytes) -> Principal:
    return await authenticator.authenticate({"headers": [(b"authorization", b"Bearer " + bearer)]})


async def refused(authenticator: Authenticator, bearer: bytes) -> str:
    with pytest.raises(Problem) as problem:
        await accepted(authenticator, bearer)
    assert problem.value.kind.status == 401
    assert dict(problem.value.headers)[b"www-authenticate"].startswith(b"Bearer")
    assert bearer.decode() not in problem.value.detail
    return problem.value.detail


async def test_a_valid_token_identifies_a_user_and_its_roles() -> None:
    assert await accepted(by_secret(), hs256()) == Principal("ada", frozenset({"staff"}), NOW + 60)


async def test_a_user_may_have_no_roles() -> None:
    assert (await accepted(by_secret(), hs256(roles=None))).roles == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": NOW - 31},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": 1e400},
        {"nbf": NOW + 31},
        {"nbf": "now"},
        {"nbf": True},
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": ".."},
        {"sub": "a" * 65},
        {"sub": 7},
        {"roles": "staff"},
        {"roles": [1]},
    ],
)
async def test_invalid_claims_are_refused(changes: dict[str, Any]) -> None:
    await refused(by_secret(), hs256(**changes))


async def test_clock_skew_of_half_a_minute_is_tolerated() -> None:
    await accepted(by_secret(), hs256(exp=NOW - 29))
    await accepted(by_secret(), hs256(nbf=NOW + 29))


async def test_issuer_and_audience_are_checked_when_configured() -> None:
    strict = by_secret(issuer="idp", audience="orders")
    await accepted(strict, hs256(iss="idp", aud="orders"))
    await accepted(strict, hs256(iss="idp", aud=["billing", "orders"]))
    await refused(strict, hs256(iss="other", aud="orders"))
    await refused(strict, hs256(iss="idp", aud="billing"))
    await refused(strict, hs256(iss="idp", aud="orders-of-another"))
    await refused(strict, hs256(iss="idp"))
    await refused(strict, hs256(aud="orders"))


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "HS512", "RS256", None, 7])
async def test_unsupported_algorithms_are_refused(algorithm: object) -> None:
    unsigned = f"{encoded({'alg': algorithm})}.{encoded(CLAIMS)}."
    assert "algorithm" in await refused(by_secret(), unsigned.encode())


@pytest.mark.parametrize(
    "bearer", [b"x", b"a.b.c", b"..", b"\xff.\xff.\xff", b"a.b.c.d.e", b"e30.e30." + b"A" * 20_000]
)
async def test_malformed_tokens_are_refused(bearer: bytes) -> None:
    with pytest.raises(Problem) as problem:
        await accepted(by_secret(), bearer)
    assert problem.value.kind.status == 401


def signed(header: dict[str, Any]) -> bytes:
    """A token with a header that the library would refuse to write."""
    text = f"{encoded(header)}.{encoded(CLAIMS)}".encode()
    signature = hmac.new(SECRET.encode(), text, hashlib.sha256).digest()
    return text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


@pytest.mark.parametrize("crit", [5, None, [["exp"]], ["exp"], ["foreign"]])
async def test_tokens_with_unsupported_critical_headers_are_refused(crit: object) -> None:
    await refused(by_secret(), signed({"alg": "HS256", "crit": crit, "foreign": "x"}))


async def test_unknown_token_headers_are_ignored() -> None:
    await accepted(by_secret(), signed({"alg": "HS256", "typ": "JWT", "foreign": {"of": "the issuer"}}))


async def test_a_token_with_a_kid_is_refused_when_a_shared_secret_is_used() -> None:
    named = token(OctKey.import_key(SECRET), {"alg": "HS256", "kid": "unknown"})
    assert "kid" in await refused(by_secret(), named)


async def test_a_token_signed_with_another_secret_is_refused() -> None:
    await refused(by_secret(), hs256("another secret of thirty-two bytes, too"))


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic YTpi")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
    ],
)
async def test_a_request_without_a_token_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Problem) as problem:
        await by_secret().authenticate({"headers": headers})
    assert problem.value.kind.status == 401


async def test_a_cached_token_still_expires() -> None:
    now = NOW
    authenticator = Authenticator(SharedSecret(SECRET), clock=lambda: now)
    bearer = hs256()
    await accepted(authenticator, bearer)
    now = NOW + 91
    await refused(authenticator, bearer)


async def test_a_padded_token_is_accepted_but_not_cached() -> None:
    authenticator = by_secret()
    bearer = hs256()
    tracemalloc.start()
    try:
        for spaces in range(1000, 2000):
            assert (await accepted(authenticator, b" " * spaces + bearer)).sub == "ada"
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000


def write(path: Path, *keys: Key) -> None:
    path.write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_every_algorithm_of_a_key_set_is_accepted(tmp_path: Path) -> None:
    keys: list[tuple[str, Key]] = [
        ("RS256", rsa("r")),
        ("ES256", ECKey.generate_key("P-256", {"kid": "e"})),
        ("EdDSA", OKPKey.generate_key("Ed25519", {"kid": "o"})),
    ]
    write(tmp_path / "jwks.json", *(key for _, key in keys))
    authenticator = Authenticator(JwksFile(tmp_path / "jwks.json"), clock=lambda: NOW)
    for algorithm, key in keys:
        await accepted(authenticator, token(key, {"alg": algorithm, "kid": key.kid}))
        await accepted(authenticator, token(key, {"alg": algorithm}))
        await refused(authenticator, token(key, {"alg": algorithm, "kid": "unknown"}))


async def test_keys_of_a_key_set_never_verify_hmac_signatures(tmp_path: Path) -> None:
    key = rsa("r")
    secret = OctKey.generate_key(256, {"kid": "s"})
    document = {"keys": [key.as_dict(private=False), secret.as_dict(private=True)]}
    (tmp_path / "jwks.json").write_text(json.dumps(document))
    authenticator = Authenticator(JwksFile(tmp_path / "jwks.json"), clock=lambda: NOW)
    claims = token(secret, {"alg": "HS256", "kid": "s"})
    assert "algorithm" in await refused(authenticator, claims)
    confused = token(OctKey.import_key(key.as_pem(False)[27:-25]), {"alg": "HS256", "kid": "r"})
    assert "algorithm" in await refused(authenticator, confused)


@pytest.mark.parametrize(
    "purpose", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "RS512"}, {"alg": "RSA-OAEP-256"}], ids=str
)
async def test_a_key_for_another_purpose_verifies_nothing(tmp_path: Path, purpose: dict[str, Any]) -> None:
    key = rsa("r")
    document = {"keys": [key.as_dict(private=False) | purpose]}
    (tmp_path / "jwks.json").write_text(json.dumps(document))
    authenticator = Authenticator(JwksFile(tmp_path / "jwks.json"), clock=lambda: NOW)
    assert "kid" in await refused(authenticator, token(key, {"alg": "RS256", "kid": "r"}))


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X448", "x": "AA"},
        {"kty": "OKP", "crv": "of tomorrow", "x": "AA"},
        {"kty": "RSA", "n": "AA", "e": "AQAB", "key_ops": None},
        {"kty": ["RSA"]},
        "no key at all",
    ],
    ids=str,
)
async def test_an_unsupported_key_does_not_affect_the_others(tmp_path: Path, other: object) -> None:
    key = rsa("r")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [other, key.as_dict(private=False)]}))
    authenticator = Authenticator(JwksFile(tmp_path / "jwks.json"), clock=lambda: NOW)
    await accepted(authenticator, token(key, {"alg": "RS256", "kid": "r"}))


async def test_a_rotated_key_file_invalidates_tokens_signed_with_old_keys(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    old, new = rsa("old"), rsa("new")
    write(path, old)
    source = JwksFile(path)
    authenticator = Authenticator(source, clock=lambda: NOW)
    of_old, of_new = (token(key, {"alg": "RS256", "kid": key.kid}) for key in (old, new))
    await accepted(authenticator, of_old)
    await refused(authenticator, of_new)
    write(path, new)
    await accepted(authenticator, of_new)
    await refused(authenticator, of_old)
    path.write_text("{")
    await accepted(authenticator, of_new)


async def test_missing_keys_result_in_503_and_not_401(tmp_path: Path) -> None:
    authenticator = Authenticator(JwksFile(tmp_path / "missing.json"), clock=lambda: NOW)
    assert authenticator.missing()
    with pytest.raises(Problem) as problem:
        await accepted(authenticator, token(rsa("r"), {"alg": "RS256", "kid": "r"}))
    assert problem.value.kind.status == 503
