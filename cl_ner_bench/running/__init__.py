"""Which steps are learned, where, and what is kept."""
