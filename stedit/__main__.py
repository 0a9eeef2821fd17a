"""`python -m stedit` is `stedit`."""

from stedit.cli.main import main

if __name__ == "__main__":
    main()
