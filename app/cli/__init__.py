"""`flask` commands. `flask --help` is the map."""
