"""The command `nephroscope`: the only place that decides the exit code."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from nephroscope.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
