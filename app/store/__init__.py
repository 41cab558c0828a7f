"""What we remember. All SQL lives here; no function here commits: the outermost caller does."""
