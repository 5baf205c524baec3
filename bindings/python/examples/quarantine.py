#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""For admins and observers: which numbers rest, whose they are, and what each still waits for."""

import collections
import sys

import pasid


def main() -> int:
    try:
        with pasid.Client(role=pasid.pb.ROLE_OBSERVER, name="quarantine.py") as client:
            waits = collections.Counter()
            for grant in client.grants(quarantined=True):
                if grant.state != pasid.pb.GRANT_QUARANTINED:
                    continue
                waits.update(grant.quarantine)
                print(f"{grant.host_pasid:8} {grant.set_name or grant.set}: {', '.join(grant.quarantine)}")
    except pasid.PasidError as error:
        print(f"quarantine.py: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{number} {reason}" for reason, number in sorted(waits.items())) or "nothing rests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
