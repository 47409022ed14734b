-- See migrations/0008_append_batch.sql, which documents the parameters.
SELECT command, outcome FROM append_batch(
    %(keys)s::json, %(firsts)s::json, %(rest)s::json, %(products)s::json, %(customers)s::json,
    %(offers)s::json, %(registrations)s::json, %(secrets)s::json
)
