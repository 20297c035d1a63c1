"""The socket of a terminal."""
