#!/usr/bin/env python3
"""Build CIFAR-10-S, or the same from your own images: this is ``cifar10-s build``; see ``--help``."""

import sys

from cifar10_s.cli.app import run

if __name__ == "__main__":
    sys.exit(run(["build", *sys.argv[1:]]))
