-- Mark topics as holding their history from the beginning.
UPDATE topic_incarnations SET complete = true WHERE incarnation = ANY (%(incarnations)s)
