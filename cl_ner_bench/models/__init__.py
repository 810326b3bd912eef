"""Encoders, heads, losses and decoding. Reads no files but those of encoders."""
