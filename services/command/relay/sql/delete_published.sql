-- Kafka acknowledged them.
DELETE FROM outbox WHERE position = ANY (%(positions)s::bigint[])
