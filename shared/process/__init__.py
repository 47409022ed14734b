"""What every process does: run on an event loop until a signal stops it, and serve HTTP."""

from shared.process.garbage import collect_rarely
from shared.process.serving import run, serve, stop_signal

__all__ = ["collect_rarely", "run", "serve", "stop_signal"]
