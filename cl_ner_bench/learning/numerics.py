"""The version of everything in the engine that can change a number."""

NUMERICS = 2
"""Part of every step's key. A change to models/ or learning/ that changes results raises it; the golden
run in tests/learning/test_trainer.py fails until it is raised."""
