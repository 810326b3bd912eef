"""The version of the engine's numbers."""

NUMERICS = 3
"""Part of every step's key. Raise it with every change to models/ or learning/ that changes results; the golden run
in tests/learning/test_trainer.py fails until then."""
