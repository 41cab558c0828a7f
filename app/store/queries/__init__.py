"""Read models: one module per page, returning frozen dataclasses."""
