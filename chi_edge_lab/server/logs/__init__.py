"""The rings of log lines that are kept for the containers whose logs people read."""

from chi_edge_lab.server.logs.followed import FollowedLog
from chi_edge_lab.server.logs.store import Logs

__all__ = ["FollowedLog", "Logs"]
