"""The REST operations, a module for each noun."""
