"""`python -m app.demo --port 8801`: runs the simulated providers as a process of their own.

The control token comes from MODELSYNC_DEMO_TOKEN; without one there is no `/_control`.
"""

from __future__ import annotations

import argparse
import os
import sys

from app.demo.simulator import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m app.demo", description="Simulated model providers on loopback.")
    parser.add_argument("--port", type=int, default=8801)
    arguments = parser.parse_args()
    try:
        serve(arguments.port, os.environ.get("MODELSYNC_DEMO_TOKEN", ""))
    except OSError as error:
        sys.stderr.write(f"The simulated providers cannot listen on port {arguments.port}: {error.strerror}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
