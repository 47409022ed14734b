"""FastStream's broker, set to create no topics and to refresh cluster metadata often."""

from aiokafka.helpers import create_ssl_context
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from services.projection.kafka.connecting import METADATA_MAX_AGE_MS
from services.projection.settings import ProjectionSettings

_SASL = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}


def new_broker(settings: ProjectionSettings) -> KafkaBroker:
    """A broker that only consumes and does not log: batches are counted instead."""
    return KafkaBroker(
        settings.kafka_bootstrap_servers.split(","),
        security=_security(settings),
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        allow_auto_create_topics=False,
        consumer_only=True,
        apply_types=False,
        logger=None,
        graceful_timeout=5.0,
    )


def _security(settings: ProjectionSettings) -> BaseSecurity:
    protocol, password = settings.kafka_security_protocol, settings.kafka_sasl_password
    encrypted = protocol.endswith("SSL")
    cafile = settings.kafka_ssl_cafile
    context = create_ssl_context(cafile=None if cafile is None else str(cafile)) if encrypted else None
    if not protocol.startswith("SASL"):
        return BaseSecurity(ssl_context=context, use_ssl=encrypted)
    return _SASL[settings.kafka_sasl_mechanism](
        username=settings.kafka_sasl_username or "",
        password="" if password is None else password.get_secret_value(),
        ssl_context=context,
        use_ssl=encrypted,
    )
