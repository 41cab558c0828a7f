"""Simulated providers on loopback with faults on demand, for `flask up --demo` and the tests.

All data is made up in the formats of the real APIs. Not used in a real installation.
"""
