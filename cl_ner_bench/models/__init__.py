"""What is learned: encoders, heads, losses and decoding. Knows no files but an encoder's."""
