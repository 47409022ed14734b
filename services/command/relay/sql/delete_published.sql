-- Delete events that Kafka has acknowledged.
DELETE FROM outbox WHERE position = ANY (%(positions)s::bigint[])
