"""`python -m ebbflow.cli`: the command, where its script is not on the PATH."""

from ebbflow.cli.start import run

if __name__ == "__main__":
    run()
