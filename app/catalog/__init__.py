"""What a model is, and how two listings differ. Pure.

No sockets, no files except the shipped seed, no clock, no database. Imports the standard library and msgspec only
(`tests/test_law.py`).
"""
