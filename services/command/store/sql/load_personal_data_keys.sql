-- The keys under which customers' names and email addresses are encrypted.
SELECT customer_id, key FROM personal_data_keys WHERE customer_id = ANY (%(customers)s)
