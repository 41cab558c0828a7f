"""History pages: syncs and changes."""
