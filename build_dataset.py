#!/usr/bin/env python3
"""Build CIFAR-10-S, or the same from your own images: this is ``cifar10-s build``; see ``--help``."""

import sys

from cifar10_s.cli.app import main

if __name__ == "__main__":
    main(["build", *sys.argv[1:]])
