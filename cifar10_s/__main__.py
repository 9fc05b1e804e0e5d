"""``python -m cifar10_s`` is the command ``cifar10-s``."""

from cifar10_s.cli.app import main

if __name__ == "__main__":
    main()
