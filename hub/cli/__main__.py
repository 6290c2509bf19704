"""`python -m hub.cli` is `hub`, for whoever starts it by interpreter."""

from __future__ import annotations

from hub.cli import main

if __name__ == "__main__":
    main()
