"""Access to the brokers: least privilege as data, and the functions of the topics job that apply it.

A Kafka rule (an `AclBinding`) allows a user an operation on a topic or on groups. WRITE and READ imply
DESCRIBE, and a user who may write to any topic may write idempotently: no user needs rights on the cluster.
Everything else is denied, by `allow.everyone.if.no.acl.found=false`.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from services.command.relay.cluster import REQUEST_SECONDS, Cluster, answered
from services.command.settings import Role
from shared.topics import CATEGORIES, HEARTBEATS, PROJECTION_GROUPS, all_topics, dead_letters

_DEAD: Final = tuple(dead_letters(topic) for topic in CATEGORIES)
TOPIC_RIGHTS: Final[Mapping[Role, Mapping[AclOperation, tuple[str, ...]]]] = {
    "relay": {AclOperation.WRITE: (*CATEGORIES, HEARTBEATS)},
    # it empties a topic that holds only part of its history
    "republish": {AclOperation.WRITE: CATEGORIES, AclOperation.DELETE: CATEGORIES},
    "projection": {AclOperation.READ: (*CATEGORIES, HEARTBEATS, *_DEAD), AclOperation.WRITE: _DEAD},
    "subscriber": {AclOperation.READ: CATEGORIES},
}
"""Topics by operation and role."""
SCRAM_ITERATIONS: Final = 8192
_ANY: Final[Any] = None
"""In a filter None matches anything, which the library's type hints omit."""
EVERYTHING: Final = AclBindingFilter(
    ResourceType.ANY,
    _ANY,
    ResourcePatternType.ANY,
    _ANY,
    _ANY,
    AclOperation.ANY,
    AclPermissionType.ANY,
)
"""A filter that matches every rule."""
_OURS: Final = frozenset(topic.name for topic in all_topics())
_log = logging.getLogger(__name__)


def groups(user: str, role: Role) -> str | None:
    """The prefix of the consumer groups that a user may join; None for no groups."""
    match role:
        case "projection":
            return PROJECTION_GROUPS
        case "subscriber":
            return f"{user}."  # user names contain no dot, so one team's groups are never another's
        case _:
            return None


def rules(user: str, role: Role) -> Iterator[AclBinding]:
    """Everything that a user may do."""
    for operation, topics in TOPIC_RIGHTS[role].items():
        for topic in topics:
            yield _allow(user, ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, operation)
    if prefix := groups(user, role):
        yield _allow(user, ResourceType.GROUP, prefix, ResourcePatternType.PREFIXED, AclOperation.READ)


def _allow(
    user: str, kind: ResourceType, name: str, pattern: ResourcePatternType, operation: AclOperation
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def ours(rule: AclBinding, users: Mapping[str, Role]) -> bool:
    """Whether a rule is ours to remove: it is about one of our topics or users, or it is one that we grant.

    The latter finds rules of users that are no longer listed. DENY rules are an operator's and stay.
    """
    user = rule.principal.removeprefix("User:")
    return rule.permission_type == AclPermissionType.ALLOW and (
        user in users
        or (rule.restype == ResourceType.TOPIC and rule.name in _OURS)
        or any(rule in rules(user, role) for role in TOPIC_RIGHTS)
    )


async def grant(cluster: Cluster, users: Mapping[str, Role]) -> None:
    """Create each user's missing rules and remove those of ours that are no longer wanted. Idempotent.

    Raises `ClusterUnavailableError`, `KafkaException`.
    """
    wanted = {rule for user, role in users.items() for rule in rules(user, role)}
    found = set(await answered(cluster.admin.describe_acls(EVERYTHING, request_timeout=REQUEST_SECONDS)))
    missing = sorted(wanted - found, key=_described)
    surplus = sorted((rule for rule in found - wanted if ours(rule, users)), key=_described)
    # grant first, so that no user is locked out in between
    if missing:
        for made in cluster.admin.create_acls(missing, request_timeout=REQUEST_SECONDS).values():
            await answered(made)
    if surplus:
        filters = [exactly(rule) for rule in surplus]
        for removed in cluster.admin.delete_acls(filters, request_timeout=REQUEST_SECONDS).values():
            await answered(removed)
    for rule in missing:
        _log.info("granted: %s", _described(rule))
    for rule in surplus:
        _log.warning("revoked: %s", _described(rule))


def exactly(rule: AclBinding) -> AclBindingFilter:
    """A filter that matches only this rule."""
    return AclBindingFilter(
        rule.restype,
        rule.name,
        rule.resource_pattern_type,
        rule.principal,
        rule.host,
        rule.operation,
        rule.permission_type,
    )


def _described(rule: AclBinding) -> str:
    kind, operation = ResourceType(rule.restype), AclOperation(rule.operation)
    star = "*" if rule.resource_pattern_type == ResourcePatternType.PREFIXED else ""
    return f"{rule.principal} {operation.name} {kind.name.lower()} {rule.name}{star}"


async def set_passwords(cluster: Cluster, passwords: Mapping[str, SecretStr]) -> None:
    """Set the passwords with which users sign in by SCRAM-SHA-512; previous ones become invalid.

    Raises `ClusterUnavailableError`, `KafkaException`.
    """
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
    changes: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, password.get_secret_value().encode())
        for user, password in passwords.items()
    ]
    if not changes:
        return
    asked = cluster.admin.alter_user_scram_credentials(changes, request_timeout=REQUEST_SECONDS)
    for user, done in asked.items():
        await answered(done)
        _log.info("set the password of %s", user)
