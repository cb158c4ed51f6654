"""A configuration as a whole, from a file to frozen dataclasses with every key checked."""
