-- Appends what several commands decided, each all or none, in one round trip and one transaction.
--
-- Every parameter is one column of an input table; x_command says to which command an entry belongs.
--   k_  idempotency keys, with the answer to be remembered
--   e_  events; e_first marks each command's first
--   p_, c_  facts that were decided upon: the version of a product's or customer's row then, 0 for none
--   lp_, lc_  rows of products_lookup and customers_lookup as these events leave them
--   n_  a customer's new key; null takes the key away
-- Answers a row for each command that was NOT stored: 'stale' (facts changed), 'key' (the idempotency key
-- is taken), 'conflict' (the stream is elsewhere). Phases and their sorted order are the same in every
-- process: else two batches would deadlock.
CREATE FUNCTION append_commands(
    k_command integer[], k_user text[], k_key text[], k_stream text[], k_fingerprint bytea[],
    k_status integer[], k_body bytea[], k_location text[],
    e_command integer[], e_first boolean[], e_stream text[], e_version integer[], e_id uuid[], e_type text[],
    e_schema integer[], e_data text[], e_metadata text[], e_time timestamptz[],
    p_command integer[], p_id text[], p_version integer[],
    c_command integer[], c_id text[], c_version integer[],
    lp_command integer[], lp_id text[], lp_name text[], lp_price integer[], lp_available boolean[],
    lp_version integer[],
    lc_command integer[], lc_id text[], lc_registered boolean[], lc_version integer[],
    n_command integer[], n_customer text[], n_key bytea[]
) RETURNS TABLE (command integer, outcome text) LANGUAGE plpgsql AS $$
DECLARE
    stale integer[] := '{}';
    keyless integer[] := '{}';
    beaten integer[] := '{}';
    lost integer[];
BEGIN
    IF cardinality(p_command) + cardinality(c_command) > 0 THEN
        SELECT coalesce(array_agg(DISTINCT f.command), '{}') INTO stale FROM (
            SELECT p.command FROM unnest(p_command, p_id, p_version) AS p (command, id, version)
            LEFT JOIN products_lookup l ON l.product_id = p.id
            WHERE coalesce(l.version, 0) <> p.version
            UNION ALL
            SELECT c.command FROM unnest(c_command, c_id, c_version) AS c (command, id, version)
            LEFT JOIN customers_lookup l ON l.customer_id = c.id
            WHERE coalesce(l.version, 0) <> c.version
        ) AS f;
    END IF;

    IF cardinality(k_command) > 0 THEN
        WITH given AS (
            SELECT * FROM unnest(
                k_command, k_user, k_key, k_stream, k_fingerprint, k_status, k_body, k_location
            ) AS k (command, user_id, key, stream_id, fingerprint, status, body, location)
            WHERE k.command <> ALL (stale)
        ), taken AS (
            INSERT INTO idempotency_keys (user_id, key, stream_id, fingerprint, status, body, location)
            SELECT g.user_id, g.key, g.stream_id, g.fingerprint, g.status, g.body, g.location
            FROM given g ORDER BY g.user_id, g.key, g.command
            ON CONFLICT DO NOTHING
            RETURNING idempotency_keys.user_id, idempotency_keys.key
        ), winners AS (
            SELECT DISTINCT ON (g.user_id, g.key) g.command FROM given g JOIN taken USING (user_id, key)
            ORDER BY g.user_id, g.key, g.command
        )
        SELECT coalesce(array_agg(g.command), '{}') INTO keyless
        FROM given g WHERE g.command NOT IN (SELECT w.command FROM winners w);
    END IF;
    lost := stale || keyless;

    WITH given AS (
        SELECT * FROM unnest(
            e_command, e_first, e_stream, e_version, e_id, e_type, e_schema, e_data, e_metadata, e_time
        ) AS e (command, first, stream_id, version, id, type, schema, data, metadata, at)
        WHERE e.first AND e.command <> ALL (lost)
    ), written AS (
        INSERT INTO events
            (stream_id, version, event_id, category, subject, type, schema_version, data, metadata, occurred_at)
        SELECT g.stream_id, g.version, g.id, split_part(g.stream_id, '/', 1),
            substr(g.stream_id, strpos(g.stream_id, '/') + 1), g.type, g.schema, g.data::jsonb,
            g.metadata::jsonb, g.at
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

    IF false = ANY (e_first) THEN
        WITH written AS (
            INSERT INTO events
                (stream_id, version, event_id, category, subject, type, schema_version, data, metadata, occurred_at)
            SELECT g.stream_id, g.version, g.id, split_part(g.stream_id, '/', 1),
                substr(g.stream_id, strpos(g.stream_id, '/') + 1), g.type, g.schema, g.data::jsonb,
                g.metadata::jsonb, g.at
            FROM unnest(
                e_command, e_first, e_stream, e_version, e_id, e_type, e_schema, e_data, e_metadata, e_time
            ) AS g (command, first, stream_id, version, id, type, schema, data, metadata, at)
            WHERE NOT g.first AND g.command <> ALL (lost)
            ORDER BY g.stream_id, g.version
            RETURNING position, events.stream_id
        )
        INSERT INTO outbox (position, stream_id, shard_hash)
        SELECT w.position, w.stream_id, hashtext(w.stream_id) & 2147483647 FROM written w;
    END IF;

    IF cardinality(beaten) > 0 AND cardinality(k_command) > 0 THEN
        DELETE FROM idempotency_keys i
        USING unnest(k_command, k_user, k_key) AS k (command, user_id, key)
        WHERE k.command = ANY (beaten) AND i.user_id = k.user_id AND i.key = k.key;
    END IF;

    IF cardinality(lp_command) > 0 THEN
        INSERT INTO products_lookup AS l (product_id, name, price_cents, available, version)
        SELECT p.id, p.name, p.price, p.available, p.version
        FROM unnest(lp_command, lp_id, lp_name, lp_price, lp_available, lp_version)
            AS p (command, id, name, price, available, version)
        WHERE p.command <> ALL (lost) ORDER BY p.id
        ON CONFLICT (product_id) DO UPDATE SET name = excluded.name, price_cents = excluded.price_cents,
            available = excluded.available, version = excluded.version
        WHERE l.version < excluded.version;
    END IF;

    IF cardinality(lc_command) > 0 THEN
        INSERT INTO customers_lookup AS l (customer_id, registered, version)
        SELECT c.id, c.registered, c.version
        FROM unnest(lc_command, lc_id, lc_registered, lc_version) AS c (command, id, registered, version)
        WHERE c.command <> ALL (lost) ORDER BY c.id
        ON CONFLICT (customer_id) DO UPDATE SET registered = excluded.registered, version = excluded.version
        WHERE l.version < excluded.version;
    END IF;

    IF cardinality(n_command) > 0 THEN
        INSERT INTO personal_data_keys (customer_id, key)
        SELECT n.customer_id, n.key FROM unnest(n_command, n_customer, n_key) AS n (command, customer_id, key)
        WHERE n.command <> ALL (lost) AND n.key IS NOT NULL ORDER BY n.customer_id;
        WITH erased AS (
            SELECT n.customer_id FROM unnest(n_command, n_customer, n_key) AS n (command, customer_id, key)
            WHERE n.command <> ALL (lost) AND n.key IS NULL
        ), forgotten AS (
            DELETE FROM personal_data_keys p USING erased e WHERE p.customer_id = e.customer_id
        )
        UPDATE idempotency_keys i SET fingerprint = substr(i.fingerprint, 1, 16) FROM erased e
        WHERE i.stream_id LIKE 'customers/%' AND i.stream_id = 'customers/' || e.customer_id;
    END IF;

    RETURN QUERY
        SELECT s, 'stale' FROM unnest(stale) AS s
        UNION ALL SELECT k, 'key' FROM unnest(keyless) AS k
        UNION ALL SELECT b, 'conflict' FROM unnest(beaten) AS b;
END $$;
