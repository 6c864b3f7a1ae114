"""Protocols: one folder each, with the same files: codec (pure), link (I/O), device (the serving side)."""
