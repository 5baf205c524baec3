# SPDX-License-Identifier: MIT
"""What `pasidctl run` and `pasidctl connect` leave in the environment of the VMM that they start."""

from __future__ import annotations

import dataclasses
import os
from typing import Mapping, Optional

SECRET_SIZE = 16


@dataclasses.dataclass(frozen=True)
class Inherited:
    """Descriptors are this process's to close; those of connection and secret are closed by Client.inherit()."""

    connection: Optional[int]  # a connection for one set
    secret: Optional[int]  # a pipe with what the session is taken over with
    set_name: Optional[str]
    iommufd: Optional[int]
    devices: dict[str, int]  # descriptors by the address of the function
    device_ids: dict[str, int]  # iommufd's numbers for them


def _number(environment: Mapping[str, str], name: str) -> Optional[int]:
    text = environment.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name} is not the number of a descriptor: {text!r}")
    return int(text)


def _pairs(environment: Mapping[str, str], name: str) -> dict[str, int]:
    found = {}
    for pair in filter(None, environment.get(name, "").split(",")):
        address, equals, number = pair.rpartition("=")
        if not equals or not number.isascii() or not number.isdigit():
            raise ValueError(f"{name} is not a list of address=number: {pair!r}")
        found[address] = int(number)
    return found


def inherited(environment: Mapping[str, str] = os.environ) -> Inherited:
    """What is there. ValueError: a variable is not what pasidctl writes."""
    return Inherited(
        connection=_number(environment, "PASIDD_FD"),
        secret=_number(environment, "PASIDD_TAKE_OVER_FD"),
        set_name=environment.get("PASIDD_SET"),
        iommufd=_number(environment, "PASIDD_IOMMUFD"),
        devices=_pairs(environment, "PASIDD_DEVICE_FDS"),
        device_ids=_pairs(environment, "PASIDD_DEVICE_IDS"),
    )


def read_secret(pipe: int) -> bytes:
    """Reads the secret and closes the pipe. ValueError: it is not there."""
    with os.fdopen(pipe, "rb") as file:
        secret = file.read(SECRET_SIZE)
    if len(secret) != SECRET_SIZE:
        raise ValueError("PASIDD_TAKE_OVER_FD: the secret is not there; it was read before, or its writer ended early")
    return secret
