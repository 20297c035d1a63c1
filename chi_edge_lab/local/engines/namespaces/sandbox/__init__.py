"""What runs beside and inside a container: the supervisor ("shim") and the making of the sandbox.

This package must run alone: the engine starts it by path, `python -I -S .../sandbox <directory>`, without
site-packages and without the
rest of chi_edge_lab. So its modules import the standard library and each other, nothing else, and few of
either: every import
is start-up time of each container.
"""

PROXY_PORT = 3128  # where the way out listens inside a container that has one
