-- One key per customer, gone with its erasure. Kept out of the backups of the rest: see docs/decisions.
CREATE TABLE personal_data_keys (
    customer_id text PRIMARY KEY,
    key bytea NOT NULL
);
