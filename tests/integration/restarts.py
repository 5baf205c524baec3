# SPDX-License-Identifier: MIT
"""What tests of restarts share: a daemon under a manager, machines with devices, and all that the daemon knows."""

import os
import unittest

from manager import Manager
from pasid_client import Refused, pb

ONE, TWO, SHARED, OTHER = (f"0000:00:0{i}.0" for i in (1, 2, 3, 4))
CONFIG = {
    "quarantine": {"cooling_ms": 50},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address, "unit": int(address == OTHER)} for address in (ONE, TWO, SHARED, OTHER)]},
}
# What is used by connections, and by who looks.
FLEETING = ("connections", "sessions", "operations", "unread-bytes", "remembered-bytes", "received-descriptors", "watches")

# Whether each thing is tried in one way rather than in every combination: PASIDD_TEST_QUICK of scripts/test.
QUICK = os.environ.get("PASIDD_TEST_QUICK") == "1"


class Restarts(unittest.TestCase):
    """What all of them need; how the daemon ends and whether its descriptors are kept is told by the subclass."""

    kill = False
    keeps = True

    def begin(self, **config):
        self.daemon = Manager({**CONFIG, **config}, keeps=self.keeps)
        self.addCleanup(self.after)

    def after(self):
        """Whatever happened, a recount agrees with the counters, and the daemon ends well."""
        try:
            if self.daemon.process.poll() is None:
                self.assertTrue(self.consistent())
        finally:
            self.daemon.cleanup()

    def consistent(self):
        with self.daemon.admin() as admin:
            return admin.status().consistent

    def restart(self):
        self.daemon.restart(self.kill)
        self.assertTrue(self.consistent())

    def connect(self, name, **fields):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client.create(name, **fields)
        return client

    def resume(self, client):
        client.close()
        again = self.daemon.client(hello=False)
        self.addCleanup(again.close)
        again.say_hello(resume_token=client.welcome.resume_token)
        self.assertTrue(again.welcome.resumed)
        self.assertEqual(again.welcome.session, client.welcome.session)
        again.next_id = max(again.next_id, client.next_id)
        return again

    def refused(self, reason, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception.status

    def exclusive(self, client, *addresses):
        devices = [client.add(self.daemon, address).id for address in addresses]
        for device in devices:
            client.map_memory(device)
        return devices

    def slice(self, client):
        device = client.call("device_slice", address=SHARED).device_slice.id
        client.map_memory(device)
        return device

    def found(self, number):
        with self.daemon.admin() as admin:
            return admin.call("host_find", host_pasid=number).host_find

    def names(self):
        with self.daemon.admin() as admin:
            return {info.name for info in admin.pages("set_list", "sets")}

    def records(self):
        """All that the daemon says of what it has, but for what passes with time and with connections."""
        with self.daemon.admin() as admin:
            grants = admin.pages("grant_list", "grants", quarantined=True)
            for grant in grants:
                grant.ClearField("cooling_ms")
            sets = admin.pages("set_list", "sets")
            for info in sets:
                info.pasids.ClearField("peak")
                info.pasids.ClearField("hits")
            limits = {
                (info.resource, info.level, info.uid, info.set): (info.use.limit, info.use.current)
                for info in admin.pages("limit_list", "limits")
                if info.resource not in FLEETING
            }
            devices = admin.pages("device_list", "devices")
            if not self.keeps:  # it is opened anew by the next one
                devices = [device for device in devices if device.kind != pb.DEVICE_SHARED]
            found = (sets, grants, devices, admin.pages("binding_list", "bindings"))
            lists = [sorted(str(each) for each in listed) for listed in found]
        return lists, {key: use for key, use in limits.items() if use[1] or use[0]}
