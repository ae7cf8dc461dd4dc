"""`rotator demo`: play a rotation on a private server."""

from rotator.cli import options
from rotator.demo.story import VALUES, run_demo
from rotator.errors import Exit

DEMO_EXAMPLES = """\b
Examples:
  rotator demo
      the whole story in a quarter of a minute
  rotator demo --values 500000
      the same with more to do

Exit codes: 0 all of it worked; 1 something did not; 2 usage; 130 and 143
interrupted.
"""


def demo_command(
    *,
    values: int = options.option(
        "--values", "How many values to fill the cache with.", min=100, default=VALUES
    ),
) -> Exit:
    """Rotate a cache on a private server, step by step; nothing is left behind."""
    return run_demo(values)
