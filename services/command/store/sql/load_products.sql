-- The products that decisions want to know.
SELECT product_id, name, price_cents, available, version FROM products_lookup
WHERE product_id = ANY (%(products)s)
