"""Where `sluice` begins: Ctrl-C is quiet from here on, also while what the commands need is imported."""

import gc
import sys

# looking for garbage while what a command needs is imported took 0.08 of the 0.47 s of `sluice run`; there is none
SELDOM = 100_000


def main() -> None:
    gc.set_threshold(SELDOM)
    try:
        from cli.main import main as commands
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)  # cli.main.INTERRUPTED, which is not there yet
    commands()


if __name__ == "__main__":
    main()
