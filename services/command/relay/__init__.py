"""From the outbox to Kafka.

`run` is the process, `shard` one publisher's life in it, `publishing` its work: `outbox` is read, `records`
are encoded, `sending` hands them to Kafka. Beside it: `heartbeats`, `incarnations`, the jobs `topics` and
`republish`.
"""
