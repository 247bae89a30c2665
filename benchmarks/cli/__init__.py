"""The command line: `python -m benchmarks COMMAND`. Here is only what `--help` needs; each command imports its own work."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; usage and unreadable input end with one line on stderr and exit status 2."""
    from benchmarks.cli.commands import app
    from benchmarks.errors import INTERRUPTED, UnreadableResults, UsageError

    try:
        app(prog_name="attnbench")
    except (UsageError, UnreadableResults) as error:
        line = "".join(c if c.isprintable() else " " for c in str(error))
        print(f"attnbench: {line}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("attnbench: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`).
        sys.stderr.close()
        raise SystemExit(0) from None
