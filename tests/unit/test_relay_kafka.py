"""How Kafka clients are configured from the environment."""

from collections import defaultdict
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from pydantic import ValidationError

from services.command.relay import cluster
from services.command.relay.kafka import aiokafka_options, confluent_options
from services.command.settings import KafkaSettings, TopicsSettings
from shared.settings import read_settings


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": "a:9092,b:9092",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "KAFKA_SASL_USERNAME": "relay",
        "KAFKA_SASL_PASSWORD": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    return read_settings(KafkaSettings)


def test_the_producer_signs_in_over_tls(settings: KafkaSettings) -> None:
    options = aiokafka_options(settings)
    assert options.pop("ssl_context").check_hostname
    assert options == {
        "bootstrap_servers": "a:9092,b:9092",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "relay",
        "sasl_plain_password": "secret",
    }


def test_the_administrator_signs_in_over_tls(settings: KafkaSettings) -> None:
    assert confluent_options(settings) == {
        "bootstrap.servers": "a:9092,b:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "relay",
        "sasl.password": "secret",
    }


def test_kafka_connections_are_plaintext_by_default() -> None:
    plain = KafkaSettings(kafka_bootstrap_servers="a:9092")
    assert aiokafka_options(plain) == {"bootstrap_servers": "a:9092", "security_protocol": "PLAINTEXT"}
    assert confluent_options(plain) == {"bootstrap.servers": "a:9092", "security.protocol": "PLAINTEXT"}


def test_sasl_requires_a_username_and_a_password() -> None:
    with pytest.raises(ValidationError, match="KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD must be set"):
        KafkaSettings(kafka_bootstrap_servers="a:9092", kafka_security_protocol="SASL_SSL")


@pytest.mark.parametrize(
    "invalid",
    [
        {"kafka_users": {"billing.eu": "subscriber"}},
        {"kafka_users": {"billing": "operator"}},
        {"kafka_user_passwords": {"billing": "short"}},
    ],
    ids=["a dot in the name, which would match another team's groups", "unknown role", "short password"],
)
def test_invalid_kafka_users_are_refused(invalid: dict[str, dict[str, str]]) -> None:
    plain = {"kafka_bootstrap_servers": "a:9092", "postgres_url": "postgresql://a"}
    assert TopicsSettings.model_validate(plain).kafka_users is None
    with pytest.raises(ValidationError):
        TopicsSettings.model_validate(plain | invalid)


async def test_unanswered_requests_time_out(settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_NEVER_SECONDS", 0.05)
    asked = cluster.Cluster(settings)
    silent: dict[object, Future[object]] = defaultdict(Future)
    silent_admin = SimpleNamespace(list_offsets=lambda *_, **__: {"a": silent["a"]}, poll=lambda _: 0)
    monkeypatch.setattr(asked, "admin", silent_admin)
    with pytest.raises(cluster.ClusterUnavailableError):
        await asked.end_offsets({"orders": 1})
    with pytest.raises(cluster.ClusterUnavailableError):
        await cluster.answered(silent["b"])


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    ],
)
async def test_a_broker_that_has_just_started_counts_as_away(code: int) -> None:
    """The last was seen by the topics job right after a restart of the broker."""
    answer: Future[object] = Future()
    answer.set_exception(KafkaException(KafkaError(code)))
    with pytest.raises(cluster.ClusterUnavailableError, match="a partition has no leader"):
        await cluster.answered(answer)
