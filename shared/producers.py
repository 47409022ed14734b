"""Ends a Kafka producer without waiting for records that no broker acknowledges."""

import asyncio
from itertools import chain
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

_SECONDS: Final = 0.5


async def discard(producer: AIOKafkaProducer) -> None:
    """Stop it, within about half a second. Whether its unsent records will arrive is unknown."""
    try:
        async with asyncio.timeout(_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError):
        # stop() insists on delivering all batches, which we have given up on. Cancel the sender's requests
        # before closing the client: they would wait forever for the metadata of a closed one
        _fail_unsent(producer)
        tasks = _tasks_of(producer._sender)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await producer.client.close()


def _fail_unsent(producer: AIOKafkaProducer) -> None:
    unsent = producer._message_accumulator
    unsent.fail_all(ProducerClosed())
    for batch in chain(unsent._pending_batches, *unsent._batches.values()):
        batch._drain_waiter.exception()  # nothing awaits it: mark it as retrieved


def _tasks_of(owner: object) -> list["asyncio.Task[Any]"]:
    """The tasks running methods of `owner`, which keeps no list of them."""
    frames = ((task, getattr(task.get_coro(), "cr_frame", None)) for task in asyncio.all_tasks())
    return [task for task, frame in frames if frame is not None and frame.f_locals.get("self") is owner]
