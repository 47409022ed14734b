"""Another team's consumer: counts orders by status and lists the customers' names.

It stores its own offsets, in one file with the state built from them; drops repeats; and starts a topic over
when it was re-created. It shows names only if COMMAND_URL and TOKEN (with the role `personal-data`) are set.
If the broker requires authentication, set KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_CA.

Usage: python subscriber.py BOOTSTRAP_SERVERS [STATE_FILE] [--once]
"""

import argparse
import asyncio
import json
import os
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from joserfc import jwe
from joserfc.jwk import OctKey

TOPICS = ("orders", "customers")
STATUSES = {"OrderCreated": "pending", "OrderShipped": "shipped", "OrderCancelled": "cancelled"}
KEYS_AT_ONCE = 1000


class State:
    """What was read so far: the offsets and the resulting state are written together or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.offsets: dict[str, dict[str, int]] = stored.get("offsets", {topic: {} for topic in TOPICS})
        self.incarnations: dict[str, list[str]] = stored.get("incarnations", {topic: [] for topic in TOPICS})
        # by id: the version, and the order's status or the customer's name, still encrypted
        self.orders: dict[str, tuple[int, str | None]] = stored.get("orders", {})
        self.customers: dict[str, tuple[int, str | None]] = stored.get("customers", {})

    def save(self) -> None:
        """Replace the file in one step."""
        content = {name: kept for name, kept in vars(self).items() if not name.startswith("_")}
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.replace(self._path)

    def begins_anew(self, record: "ConsumerRecord[bytes, bytes]") -> bool:
        """Whether the topic was re-created since we stored its offsets; if so, forget them."""
        incarnation, known = dict(record.headers)["incarnation"].decode(), self.incarnations[record.topic]
        if incarnation in known:
            return False
        known.append(incarnation)  # once for each: records of earlier ones may still be there
        self.offsets[record.topic] = {}
        return len(known) > 1

    def apply(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        """Apply the next event of an order or a customer; an event that is not newer is a repeat."""
        event: dict[str, Any] = json.loads(record.value or b"")
        kept = self.orders if record.topic == "orders" else self.customers
        version, before = kept.get(event["subject"], (0, None))
        if event["version"] > version + 1:
            raise RuntimeError(f"{event['type']} {event['subject']}: version {version + 1} is missing")
        if event["version"] == version + 1:
            kept[event["subject"]] = (event["version"], self._after(event, before))
        self.offsets[record.topic][str(record.partition)] = record.offset + 1

    def _after(self, event: dict[str, Any], before: str | None) -> str | None:
        if event["type"] == "CustomerErased":
            return None  # we store no decrypted names; a consumer that does deletes them here
        # events and fields newer than this program change nothing
        return STATUSES.get(event["type"]) or event["data"].get("name", before)


async def readable(names: dict[str, str]) -> list[str]:
    """The decrypted names, without those erased meanwhile; none without access."""
    if "TOKEN" not in os.environ:
        return []
    found, customers = [], list(names)
    async with httpx.AsyncClient(base_url=os.environ["COMMAND_URL"]) as client:
        for first in range(0, len(customers), KEYS_AT_ONCE):
            answer = await client.post(
                "/personal-data-keys",
                json={"customerIds": customers[first : first + KEYS_AT_ONCE]},
                headers={"Authorization": f"Bearer {os.environ['TOKEN']}"},
            )
            for customer, key in answer.raise_for_status().json()["keys"].items():
                if key is not None:
                    text = jwe.decrypt_compact(names[customer], OctKey.import_key(key), ["dir", "A256GCM"])
                    found.append((text.plaintext or b"").decode())
    return sorted(found)


async def show(state: State) -> None:
    """Print the current state."""
    names = {customer: name for customer, (_, name) in state.customers.items() if name is not None}
    statuses = Counter(status for _, status in state.orders.values())
    print(json.dumps({"orders": statuses, "customers": await readable(names)}), flush=True)


def access() -> dict[str, Any]:
    """The client settings for signing in."""
    if "KAFKA_USERNAME" not in os.environ:
        return {}
    return {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=os.environ.get("KAFKA_CA")),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": os.environ["KAFKA_USERNAME"],
        "sasl_plain_password": os.environ["KAFKA_PASSWORD"],
    }


async def consume(servers: str, state: State, *, once: bool) -> None:
    """Continue from the stored offsets; with `once`, stop at the current end."""
    consumer = AIOKafkaConsumer(
        *TOPICS,
        bootstrap_servers=servers,
        group_id=None,  # we read all partitions; the state file has our offsets
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # applies when the stored offset is gone: the topic was re-created
        metadata_max_age_ms=5000,
        **access(),
    )
    async with consumer:
        places = list(consumer.assignment())
        for place in places:
            consumer.seek(place, state.offsets[place.topic].get(str(place.partition), 0))
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            if batches:
                await take(consumer, state, [record for records in batches.values() for record in records])
                state.save()
                await show(state)
            elif once and await at_end(consumer, places):
                return


async def take(
    consumer: AIOKafkaConsumer, state: State, records: "list[ConsumerRecord[bytes, bytes]]"
) -> None:
    """Apply records, or start their topic over if it was re-created; repeats are dropped by version."""
    anew = {record.topic for record in records if state.begins_anew(record)}
    if anew:
        await consumer.seek_to_beginning(*(place for place in consumer.assignment() if place.topic in anew))
    for record in records:
        if record.topic not in anew:  # the others are from the middle of a topic that is started over
            state.apply(record)


async def at_end(consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> bool:
    """Whether everything currently in the topics has been read."""
    ends = await consumer.end_offsets(places)
    return all([await consumer.position(place) >= ends[place] for place in places])


def main() -> None:
    """Parse the arguments and consume."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("servers")
    parser.add_argument("state", nargs="?", type=Path, default=Path("subscriber.json"))
    parser.add_argument("--once", action="store_true")
    given = parser.parse_args()
    asyncio.run(consume(given.servers, State(given.state), once=given.once))


if __name__ == "__main__":
    main()
