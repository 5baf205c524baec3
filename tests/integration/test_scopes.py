# SPDX-License-Identifier: MIT
"""Scope rids: numbers that are a set's on some devices only, compared with the simulated IOMMU's tables."""

import json
import subprocess
import unittest

from pasid_client import BUILD, Daemon, Refused, eventually, host, pb, set_ref

ONE, TWO, SHARED, OTHER = (f"0000:00:0{i}.0" for i in (1, 2, 3, 4))
CONFIG = {
    "quarantine": {"cooling_ms": 50},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address} for address in (ONE, TWO, SHARED, OTHER)]},
}


class Scopes(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.vm1, self.vm2 = self.connect("vm1"), self.connect("vm2")
        self.one, self.two = self.exclusive(self.vm1, ONE, TWO)
        self.other = self.exclusive(self.vm2, OTHER)[0]

    def connect(self, name, **fields):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client.create(name, **fields)
        return client

    def exclusive(self, client, *addresses):
        devices = [client.add(self.daemon, address).id for address in addresses]
        for device in devices:
            client.map_memory(device)
        return devices

    def refused(self, reason, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception.status

    def rids(self, client, *devices, number=None, **fields):
        if number:
            fields.update(min=number, max=number)
        return client.allocate(scope=pb.SCOPE_RIDS, devices=devices, **fields)

    def extend(self, client, number, *devices):
        return client.call("extend", pasid=host(number), devices=devices).extend.added

    # F4
    def test_the_same_number_on_other_devices_in_their_own_tables(self):
        self.assertEqual(self.rids(self.vm1, self.one, number=7), [7])
        self.assertEqual(self.rids(self.vm2, self.other, number=7), [7])
        self.vm1.bind(host(7), self.one)
        self.vm2.bind(host(7), self.other)
        tables = self.daemon.tables()
        self.assertEqual(set(tables), {(ONE, 7), (OTHER, 7)})
        self.assertNotEqual(tables[ONE, 7], tables[OTHER, 7])
        self.vm1.unbind(host(7))
        self.assertEqual(set(self.daemon.tables()), {(OTHER, 7)})
        self.assertEqual(self.daemon.tables()[OTHER, 7], tables[OTHER, 7])

    # F4
    def test_a_number_is_free_on_all_named_devices(self):
        self.rids(self.vm1, self.one, number=7)
        self.rids(self.vm1, self.two, number=8)
        self.refused("none-free", self.rids, self.vm1, self.one, self.two, min=7, max=8)
        self.assertEqual(self.rids(self.vm1, self.one, self.two, min=7, max=9), [9])
        self.vm1.bind(host(9), self.one, self.two)
        self.assertEqual(set(self.daemon.tables()), {(ONE, 9), (TWO, 9)})

    # F4
    def test_it_is_extended_unless_it_is_taken_there(self):
        slice1 = self.vm1.call("device_slice", address=SHARED).device_slice.id
        slice2 = self.vm2.call("device_slice", address=SHARED).device_slice.id
        self.rids(self.vm1, self.one, number=7)
        self.rids(self.vm2, slice2, number=7)
        status = self.refused("outside-scope", self.vm1.bind, host(7), self.two)
        self.assertIn("extend", status.message)
        self.assertEqual(self.daemon.tables(), {})
        self.refused("pasid-taken", self.extend, self.vm1, 7, self.two, slice1)
        self.refused("outside-scope", self.vm1.bind, host(7), self.two)
        self.assertEqual(self.extend(self.vm1, 7, self.two), 1)
        self.assertEqual(self.extend(self.vm1, 7, self.two), 0)
        self.vm1.bind(host(7), self.one, self.two)
        self.assertEqual(set(self.daemon.tables()), {(ONE, 7), (TWO, 7)})
        self.refused("bad-argument", self.extend, self.vm1, 7)
        self.refused("no-device", self.extend, self.vm1, 7, self.other)

    def test_a_global_number_and_these_never_meet(self):
        number = self.vm1.allocate()[0]
        self.refused("none-free", self.rids, self.vm2, self.other, number=number)
        self.rids(self.vm2, self.other, number=number + 1)
        self.refused("none-free", self.vm1.allocate, min=number + 1, max=number + 1)
        self.vm1.free(number)
        self.assertTrue(eventually(lambda: self.rids_if_free(self.vm2, self.other, number)))

    def rids_if_free(self, client, device, number):
        try:
            return self.rids(client, device, number=number)
        except Refused:
            return None

    def test_the_policy_and_the_set_say_which_scopes_there_are(self):
        client = self.connect("narrow", scopes=[pb.SCOPE_RIDS])
        self.assertEqual(list(client.call("set_get").set_get.scopes), [pb.SCOPE_RIDS])
        self.refused("scope-not-allowed", client.allocate)
        daemon = Daemon({"scopes": {"rids": {}}})
        self.addCleanup(daemon.cleanup)
        with daemon.client() as client:
            self.refused("policy-denies", client.create, "vm", scopes=[pb.SCOPE_RIDS])
            client.create("vm")
            self.refused("scope-not-allowed", self.rids, client, 1)

    def test_what_cannot_be_asked_for(self):
        self.refused("bad-argument", self.vm1.allocate, scope=pb.SCOPE_RIDS)
        self.refused("no-device", self.rids, self.vm1, self.other)
        self.refused("limit", self.rids, self.vm1, self.one, self.two, count=4096)
        self.refused("no-pasid", self.extend, self.vm1, 7, self.one)

    def test_whose_it_is_needs_the_set_where_it_is_several_sets(self):
        self.rids(self.vm1, self.one, number=7)
        self.rids(self.vm2, self.other, number=7)
        with self.daemon.admin() as admin:
            self.refused("pasid-ambiguous", admin.call, "host_find", host_pasid=7)
            found = admin.call("host_find", host_pasid=7, set=set_ref("vm2")).host_find
            self.assertEqual((found.set_name, found.scope), ("vm2", pb.SCOPE_RIDS))
            self.assertEqual(len(found.groups), 1)
        self.assertEqual(self.vm1.call("host_find", host_pasid=7).host_find.set_name, "vm1")

    # F4, with a restart
    def test_a_restart_keeps_scopes(self):
        self.rids(self.vm1, self.one, number=7)
        self.rids(self.vm2, self.other, number=7)
        token = self.vm1.welcome.resume_token
        self.daemon.stop()
        self.daemon.start()
        vm1 = self.daemon.client(resume=token)
        self.addCleanup(vm1.close)
        self.assertEqual(vm1.call("host_find", host_pasid=7).host_find.scope, pb.SCOPE_RIDS)
        with self.daemon.admin() as admin:
            self.refused("pasid-ambiguous", admin.call, "host_find", host_pasid=7)
            self.assertTrue(admin.status().consistent)

    def test_pasidctl_allocates_extends_and_tells(self):
        def pasidctl(*words):
            command = [BUILD / "pasidctl", "--socket", self.daemon.socket, "--json", *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
            return done.returncode, json.loads(done.stdout)

        self.assertEqual(pasidctl("set", "create", "ctl", "--scope", "rids")[1]["set"]["scopes"], ["rids"])
        code, answer = pasidctl("alloc", "--set", "vm1", "--scope", "rids", "--min", "5", ONE)
        self.assertEqual((code, len(answer["pasids"])), (0, 1))
        number = str(answer["pasids"][0])
        self.assertEqual(pasidctl("extend", "--set", "vm1", number, TWO)[1]["added"], 1)
        answer = pasidctl("who", number, "--set", "vm1")[1]
        self.assertEqual((answer["scope"], len(answer["groups"])), ("rids", 2))
        self.rids(self.vm2, self.other, number=int(number))
        self.assertEqual(pasidctl("who", number)[1]["reason"], "pasid-ambiguous")


if __name__ == "__main__":
    unittest.main()
