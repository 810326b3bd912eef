"""What tests and benchmarks share: tiny inputs, the plain oracle, grids and results folders to try things on."""
