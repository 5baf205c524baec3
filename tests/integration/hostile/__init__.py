# SPDX-License-Identifier: MIT
"""Attacks on a running daemon, each a function with a name; whoever imports this has them all in ATTACKS."""

from . import connections, datagrams, deaths, descriptors, hands, objects, readers, requests
from .attack import ATTACKS, Place, end, launch, run

__all__ = ("ATTACKS", "Place", "end", "launch", "run", "connections", "datagrams", "deaths", "descriptors", "hands",
           "objects", "readers", "requests")
