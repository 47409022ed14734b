"""The query service: `python -m services.query`."""

import argparse

from services.query.app import main

if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m services.query", description=__doc__).parse_args()
    main()
