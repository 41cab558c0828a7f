"""Measured by hand and by CI for its output: ratios within one run, never a pass or fail on absolute time."""
