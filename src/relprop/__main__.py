"""``python -m relprop``."""

from relprop.cli import main

if __name__ == "__main__":
    main()
