"""How the clients of Kafka are configured from the environment's settings."""

import pytest

from services.command.relay.kafka import aiokafka_options, confluent_options
from services.command.settings import KafkaSettings
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


def test_without_more_said_it_is_plain() -> None:
    plain = KafkaSettings(kafka_bootstrap_servers="a:9092")
    assert aiokafka_options(plain) == {"bootstrap_servers": "a:9092", "security_protocol": "PLAINTEXT"}
    assert confluent_options(plain) == {"bootstrap.servers": "a:9092", "security.protocol": "PLAINTEXT"}
