-- What decisions on one stream need to know of others, written with the events it comes from.
CREATE TABLE products_lookup (
    product_id text PRIMARY KEY,
    name text NOT NULL,
    price_cents integer NOT NULL,
    available boolean NOT NULL,
    version integer NOT NULL
);

CREATE TABLE customers_lookup (
    customer_id text PRIMARY KEY,
    registered boolean NOT NULL,
    version integer NOT NULL
);
