"""`python -m chi_edge_lab.local`: the local site's command line."""

import sys

from chi_edge_lab.local.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
