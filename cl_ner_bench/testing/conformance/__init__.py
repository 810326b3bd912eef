"""The conformance suite: what must hold of every method, checked with a tiny encoder and generated sentences."""
