"""Simulated providers on loopback, with faults on demand: for `flask up --demo` and for the tests.

Everything here is made up in the shapes of the real APIs. Nothing of it runs in a real installation.
"""
