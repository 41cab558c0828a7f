"""What every request passes: hooks, error pages, filters, static files."""
