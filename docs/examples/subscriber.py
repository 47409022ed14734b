"""Another team's consumer: how many orders are pending, shipped and cancelled.

It keeps its own offsets and each order's version in a file, begins again when a topic was made anew, and
drops repeats. Usage: python subscriber.py BOOTSTRAP_SERVERS [STATE_FILE] [--once]
"""

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

TOPIC = "orders"
STATUSES = {"OrderCreated": "pending", "OrderShipped": "shipped", "OrderCancelled": "cancelled"}


class State:
    """What was read so far, written as one file: offsets and what they led to, together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offsets: dict[str, int] = {}
        self.incarnation = ""
        self.orders: dict[str, tuple[int, str]] = {}
        if path.exists():
            stored = json.loads(path.read_text())
            self.offsets, self.incarnation = stored["offsets"], stored["incarnation"]
            self.orders = {key: (version, status) for key, (version, status) in stored["orders"].items()}

    def save(self) -> None:
        """Replace the file in one step."""
        content = {"offsets": self.offsets, "incarnation": self.incarnation, "orders": self.orders}
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.replace(self._path)

    def apply(self, event: dict[str, Any]) -> None:
        """Take the next version of an order; what is not newer is a repeat."""
        version, _ = self.orders.get(event["subject"], (0, ""))
        if event["version"] > version and event["type"] in STATUSES:
            self.orders[event["subject"]] = (event["version"], STATUSES[event["type"]])


async def consume(servers: str, state: State, *, once: bool) -> None:
    """Read on from where the state ends; with `once`, up to today's end."""
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=servers, group_id=None, enable_auto_commit=False)
    async with consumer:
        partitions = list(consumer.assignment())  # without a group all are ours
        first, last = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        for partition in partitions:
            wanted = state.offsets.get(str(partition.partition), 0)
            inside = first[partition] <= wanted <= last[partition]
            consumer.seek(partition, wanted if inside else first[partition])
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            for record in (record for records in batches.values() for record in records):
                incarnation = dict(record.headers)["incarnation"].decode()
                if incarnation != state.incarnation:
                    begins_anew, state.incarnation, state.offsets = bool(state.incarnation), incarnation, {}
                    if begins_anew:  # the topic was made anew: so do we, and repeats fall out by version
                        await consumer.seek_to_beginning(*partitions)
                        break
                state.apply(json.loads(record.value))
                state.offsets[str(record.partition)] = record.offset + 1
            if batches:
                state.save()
                print(dict(Counter(status for _, status in state.orders.values())), flush=True)
            elif once and all([await consumer.position(place) >= last[place] for place in partitions]):
                return


def main() -> None:
    """Read the arguments, consume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers")
    parser.add_argument("state", nargs="?", type=Path, default=Path("subscriber.json"))
    parser.add_argument("--once", action="store_true")
    given = parser.parse_args()
    asyncio.run(consume(given.servers, State(given.state), once=given.once))


if __name__ == "__main__":
    main()
