"""The runs of a grid: which steps are learned, in which order and where, and which models are kept."""
