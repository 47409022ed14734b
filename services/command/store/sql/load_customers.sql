-- The customers that decisions need.
SELECT customer_id, registered, version FROM customers_lookup WHERE customer_id = ANY (%(customers)s)
