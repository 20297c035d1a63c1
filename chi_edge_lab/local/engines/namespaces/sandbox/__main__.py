"""`python -I -S <this directory> ...`: run the shim with the parent directory as the import root."""

import importlib
import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.exit(importlib.import_module("sandbox.shim").main(sys.argv[1:]))
