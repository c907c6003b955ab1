"""`python -m ebbflow.standins.model_servers`."""

import sys

from ebbflow.standins.model_servers.server import main

if __name__ == "__main__":
    sys.exit(main())
