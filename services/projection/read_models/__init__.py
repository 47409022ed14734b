"""The read models: pure functions from a document (or none) and an event to the next document.

Documents of one aggregate (`orders`, `order_history`, `customers`, `products`) apply its events in version
order, each exactly once. Counts over many aggregates (`customer_summaries`, `product_sales`, `daily_sales`)
are additions, which may be applied in any order.
"""
