"""Syncs: fetch lists from providers, evaluate them, save what changed."""
