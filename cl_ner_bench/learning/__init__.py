"""How one step is learned: contract of a method, batches, training loop. Knows no store and no command line."""
