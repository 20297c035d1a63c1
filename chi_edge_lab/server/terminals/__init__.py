"""Shells in containers: a session each, kept over reloads, with sockets for its readers."""
