-- Appends what several commands decided, each all or none, in one round trip and one transaction.
-- Takes the place of append_commands, which stays for the processes of the release before.
--
-- Every parameter is a table, as a JSON array of its rows (or null); `command` says to which command a row
-- belongs. Bytes are in hexadecimal.
--   keys  idempotency keys, with the answer to be remembered
--   firsts, rest  the first event of each command that has any, and those after it
--   products, customers  facts that were decided upon: the version of a row of the lookup then, 0 for none
--   offers, registrations  rows of products_lookup and customers_lookup as these events leave them
--   secrets  a customer's new key; null takes the key away
-- Answers a row for each command that was NOT stored: 'stale' (facts changed), 'key' (the idempotency key
-- is taken), 'conflict' (the stream is elsewhere). Phases and their sorted order are the same in every
-- process: else two batches would deadlock.
CREATE FUNCTION append_batch(
    keys json, firsts json, rest json, products json, customers json, offers json, registrations json, secrets json
) RETURNS TABLE (command integer, outcome text) LANGUAGE plpgsql AS $$
DECLARE
    stale integer[] := '{}';
    keyless integer[] := '{}';
    beaten integer[] := '{}';
    lost integer[];
BEGIN
    IF products IS NOT NULL OR customers IS NOT NULL THEN
        SELECT coalesce(array_agg(DISTINCT f.command), '{}') INTO stale FROM (
            SELECT p.command FROM json_to_recordset(products) AS p (command integer, id text, version integer)
            LEFT JOIN products_lookup l ON l.product_id = p.id
            WHERE coalesce(l.version, 0) <> p.version
            UNION ALL
            SELECT c.command FROM json_to_recordset(customers) AS c (command integer, id text, version integer)
            LEFT JOIN customers_lookup l ON l.customer_id = c.id
            WHERE coalesce(l.version, 0) <> c.version
        ) AS f;
    END IF;

    IF keys IS NOT NULL THEN
        WITH asked AS (
            SELECT * FROM json_to_recordset(keys) AS k (
                command integer, user_id text, key text, stream_id text, fingerprint text, status integer,
                body text, location text)
            WHERE k.command <> ALL (stale)
        ), taken AS (
            INSERT INTO idempotency_keys (user_id, key, stream_id, fingerprint, status, body, location)
            SELECT a.user_id, a.key, a.stream_id, decode(a.fingerprint, 'hex'), a.status,
                convert_to(a.body, 'UTF8'), a.location
            FROM asked a ORDER BY a.user_id, a.key, a.command
            ON CONFLICT DO NOTHING
            RETURNING idempotency_keys.user_id, idempotency_keys.key
        ), winners AS (
            SELECT DISTINCT ON (a.user_id, a.key) a.command FROM asked a JOIN taken USING (user_id, key)
            ORDER BY a.user_id, a.key, a.command
        )
        SELECT coalesce(array_agg(a.command), '{}') INTO keyless
        FROM asked a WHERE a.command NOT IN (SELECT w.command FROM winners w);
    END IF;
    lost := stale || keyless;

    WITH given AS (
        SELECT * FROM json_to_recordset(firsts) AS e (
            command integer, stream_id text, version integer, id uuid, type text,
            schema integer, data jsonb, metadata jsonb, at timestamptz)
        WHERE e.command <> ALL (lost)
    ), written AS (
        INSERT INTO events
            (stream_id, version, event_id, category, subject, type, schema_version, data, metadata, occurred_at)
        SELECT g.stream_id, g.version, g.id, split_part(g.stream_id, '/', 1),
            substr(g.stream_id, strpos(g.stream_id, '/') + 1), g.type, g.schema, g.data, g.metadata, g.at
        FROM given g ORDER BY g.stream_id
        ON CONFLICT (stream_id, version) DO NOTHING
        RETURNING position, event_id, events.stream_id
    ), announced AS (
        INSERT INTO outbox (position, stream_id, shard_hash)
        SELECT w.position, w.stream_id, hashtext(w.stream_id) & 2147483647 FROM written w
    )
    SELECT coalesce(array_agg(g.command), '{}') INTO beaten
    FROM given g WHERE g.id NOT IN (SELECT w.event_id FROM written w);
    lost := lost || beaten;

    IF rest IS NOT NULL THEN
        WITH written AS (
            INSERT INTO events
                (stream_id, version, event_id, category, subject, type, schema_version, data, metadata, occurred_at)
            SELECT r.stream_id, r.version, r.id, split_part(r.stream_id, '/', 1),
                substr(r.stream_id, strpos(r.stream_id, '/') + 1), r.type, r.schema, r.data, r.metadata, r.at
            FROM json_to_recordset(rest) AS r (
                command integer, stream_id text, version integer, id uuid, type text,
                schema integer, data jsonb, metadata jsonb, at timestamptz)
            WHERE r.command <> ALL (lost) ORDER BY r.stream_id, r.version
            RETURNING position, events.stream_id
        )
        INSERT INTO outbox (position, stream_id, shard_hash)
        SELECT w.position, w.stream_id, hashtext(w.stream_id) & 2147483647 FROM written w;
    END IF;

    IF cardinality(beaten) > 0 AND keys IS NOT NULL THEN
        DELETE FROM idempotency_keys i
        USING json_to_recordset(keys) AS k (command integer, user_id text, key text)
        WHERE k.command = ANY (beaten) AND i.user_id = k.user_id AND i.key = k.key;
    END IF;

    IF offers IS NOT NULL THEN
        INSERT INTO products_lookup AS l (product_id, name, price_cents, available, version)
        SELECT o.id, o.name, o.price, o.available, o.version
        FROM json_to_recordset(offers)
            AS o (command integer, id text, name text, price integer, available boolean, version integer)
        WHERE o.command <> ALL (lost) ORDER BY o.id
        ON CONFLICT (product_id) DO UPDATE SET name = excluded.name, price_cents = excluded.price_cents,
            available = excluded.available, version = excluded.version
        WHERE l.version < excluded.version;
    END IF;

    IF registrations IS NOT NULL THEN
        INSERT INTO customers_lookup AS l (customer_id, registered, version)
        SELECT r.id, r.registered, r.version
        FROM json_to_recordset(registrations)
            AS r (command integer, id text, registered boolean, version integer)
        WHERE r.command <> ALL (lost) ORDER BY r.id
        ON CONFLICT (customer_id) DO UPDATE SET registered = excluded.registered, version = excluded.version
        WHERE l.version < excluded.version;
    END IF;

    IF secrets IS NOT NULL THEN
        INSERT INTO personal_data_keys (customer_id, key)
        SELECT s.customer, decode(s.key, 'hex')
        FROM json_to_recordset(secrets) AS s (command integer, customer text, key text)
        WHERE s.command <> ALL (lost) AND s.key IS NOT NULL ORDER BY s.customer;
        WITH erased AS (
            SELECT s.customer FROM json_to_recordset(secrets) AS s (command integer, customer text, key text)
            WHERE s.command <> ALL (lost) AND s.key IS NULL
        ), forgotten AS (
            DELETE FROM personal_data_keys p USING erased e WHERE p.customer_id = e.customer
        )
        UPDATE idempotency_keys i SET fingerprint = substr(i.fingerprint, 1, 16) FROM erased e
        WHERE i.stream_id LIKE 'customers/%' AND i.stream_id = 'customers/' || e.customer;
    END IF;

    RETURN QUERY
        SELECT s, 'stale' FROM unnest(stale) AS s
        UNION ALL SELECT k, 'key' FROM unnest(keyless) AS k
        UNION ALL SELECT b, 'conflict' FROM unnest(beaten) AS b;
END $$;
