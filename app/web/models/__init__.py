"""Model pages: search, compare, snippets."""
