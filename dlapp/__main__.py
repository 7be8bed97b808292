"""``python -m dlapp`` is the ``dlapp`` command."""

from dlapp.cli import main

if __name__ == "__main__":
    main()
