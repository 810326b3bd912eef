"""The runs of a grid: their plan, their order, their execution on workers."""
