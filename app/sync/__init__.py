"""The only place where things happen: ask the providers, compare, write, tell."""
