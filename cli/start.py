"""Where the installed command begins. One of its words is started for every turn, and must be there at once."""

import sys


def run() -> None:
    """The entry point."""
    if sys.argv[1:2] == ["run-turn"] and not any(word in ("--help", "-h") for word in sys.argv[2:]):
        from ebbflow.services.runner.client import main

        sys.exit(main(sys.argv[2:]))
    from ebbflow.cli.main import app

    app()
