"""A new generation beside the live one: filled, compared, and switched to in one transaction."""
