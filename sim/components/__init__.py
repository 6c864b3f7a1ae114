"""Shipped components; users write theirs in the same way (docs/components.md)."""
