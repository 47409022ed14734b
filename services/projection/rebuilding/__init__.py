"""Fills a new generation alongside the live one, compares them, and switches in one transaction."""
