"""One training, from a configuration to the files that it leaves."""
