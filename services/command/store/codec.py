"""Converts between the domain's events and states, in plaintext, and their stored form."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from services.command.store.personal_data import decrypt, encrypt
from shared.envelope import dump_data, dump_data_json, load_data
from shared.events import CustomerDetailsChanged, CustomerRegistered, Event
from shared.events.customer import PERSONAL_FIELDS
from shared.events.upcasting import upcast

_PERSONAL_TYPES: Final = frozenset({CustomerRegistered.__name__, CustomerDetailsChanged.__name__})


class MissingKeyError(Exception):
    """A personal field cannot be encrypted: its customer has no key."""


def _sealed(values: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    if key is None:
        raise MissingKeyError
    return {name: encrypt(value, key) if name in PERSONAL_FIELDS else value for name, value in values.items()}


def _opened(values: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    return {name: decrypt(value, key) if name in PERSONAL_FIELDS else value for name, value in values.items()}


def encode_event(event: Event, key: bytes | None) -> bytes:
    """An event's data as the JSON that is stored: personal fields encrypted under `key`."""
    if type(event).__name__ in _PERSONAL_TYPES:
        return orjson.dumps(_sealed(dump_data(event), key))
    return dump_data_json(event)


def decode_event(event_type: str, schema_version: int, data: dict[str, Any], key: bytes | None) -> Event:
    """A stored event in its newest version, decrypted."""
    data = upcast(event_type, schema_version, data)
    return load_data(event_type, _opened(data, key) if event_type in _PERSONAL_TYPES else data)


def encode_state(dumped: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    """A snapshot as stored. Only a customer's state has fields of the names in `PERSONAL_FIELDS`."""
    return _sealed(dumped, key) if any(name in dumped for name in PERSONAL_FIELDS) else dict(dumped)


def decode_state(stored: Mapping[str, Any], key: bytes | None) -> dict[str, Any]:
    """A snapshot, decrypted."""
    return _opened(stored, key)
