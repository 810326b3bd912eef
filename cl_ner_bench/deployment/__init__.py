"""Use of a learned model outside a grid: load it, predict text with it, export it, teach it one more type."""
