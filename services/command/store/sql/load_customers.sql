-- The customers that decisions want to know.
SELECT customer_id, registered, version FROM customers_lookup WHERE customer_id = ANY (%(customers)s)
