#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A VMM in its smallest form, started by `pasidctl run --device ADDRESS --share ADDRESS -- examples/vmm.py`.

It takes over the set and the devices that are there, gives each device memory, and lets a process of the "guest" use
PASID 5 on all of them. Then it tells what happens to its set, a line for each event, until it is killed.
"""

import os

import pasid

MEMORY = 1 << 16
SPACE = 1
GUEST_PASID = 5


def main() -> None:
    with pasid.Client.inherit(name="vmm.py") as client:
        memory = os.memfd_create("guest memory")
        os.ftruncate(memory, MEMORY)
        devices = [device.id for device in client.devices()]
        for device in devices:
            client.memory_map(device, memory, MEMORY, space=SPACE)
        with client.watch() as events:
            (host,) = client.allocate(guest=GUEST_PASID)
            if devices:
                client.bind(pasid.Guest(GUEST_PASID), {device: pasid.space(SPACE) for device in devices})
            print(f"guest PASID {GUEST_PASID} is {host} on {len(devices)} devices", flush=True)
            for event in events:
                print(pasid.pb.EventKind.Name(event.kind), event.host_pasid, flush=True)


if __name__ == "__main__":
    main()
