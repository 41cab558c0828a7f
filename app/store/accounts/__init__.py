"""Rows of a person's account: users, sessions, tokens, second factors, subscriptions."""
