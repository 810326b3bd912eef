"""Code that tests and benchmarks share: tiny inputs, the plain path, grids and made-up results folders."""
