-- The products that decisions need.
SELECT product_id, name, price_cents, available, version FROM products_lookup
WHERE product_id = ANY (%(products)s)
