"""The conformance suite: checks that every method must pass, with a tiny encoder and generated sentences."""
