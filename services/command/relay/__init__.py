"""Publishes the outbox to Kafka.

`run` is the process, `shard` the lifecycle of one publisher in it, `publishing` its loops: they read the
`outbox`, encode `records` and send them (`sending`). Alongside: `heartbeats`, `incarnations`, and the jobs
`topics` and `republish`.
"""
