"""What a model is, and how two listings differ.

Nothing in this folder does IO: no sockets, no files but the shipped seed, no clock, no database.
It may import the standard library and msgspec, nothing else of ours; a test holds it to that.
"""
