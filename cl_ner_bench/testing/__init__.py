"""Shared by tests and benchmarks: tiny inputs, the plain oracle, grids and results folders to try things on."""
