"""``python -m continuum``: the command line, where its script is not on the path."""

from continuum.cli.main import main

if __name__ == "__main__":
    main()
