"""Where `sluice` begins: Ctrl-C is quiet from here on, also while what the commands need is imported."""

import sys


def main() -> None:
    try:
        from cli.main import main as commands
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)  # cli.main.INTERRUPTED, which is not there yet
    commands()


if __name__ == "__main__":
    main()
