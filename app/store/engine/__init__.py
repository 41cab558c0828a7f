"""The database engine: connections, transactions, dialects, errors, dumps, retention."""
