"""Container health check: the exit status tells whether the process on PORT is ready."""

import http.client
import os
import sys


def main() -> int:
    """0 when ready, 1 when not."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=3)
    try:
        connection.request("GET", "/health/ready")
        return 0 if connection.getresponse().status == 200 else 1
    except OSError:
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
