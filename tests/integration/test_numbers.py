# SPDX-License-Identifier: MIT
"""Sets and numbers through the socket: hello, quotas, allocation, the guest map, whose is what."""

import json
import os
import unittest

from pasid_client import Daemon, Refused, eventually, guest, host, pb, set_ref


class Numbers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon({"quarantine": {"cooling_ms": 100}})
        cls.addClassCleanup(cls.daemon.cleanup)

    def setUp(self):
        self.vm1 = self.connect("vm1")
        self.vm2 = self.connect("vm2")

    def connect(self, name):
        client = self.daemon.client()
        client.create(name)
        # An end without waiting for the grace period: the next test makes the set anew.
        self.addCleanup(client.close)
        self.addCleanup(client.call, "set_destroy", force=True)
        return client

    def refused(self, reason, code, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual((caught.exception.reason, caught.exception.code), (reason, code))
        return caught.exception.status

    # F29
    def test_hello_says_what_the_client_may_count_on(self):
        welcome = self.vm1.welcome
        self.assertEqual((welcome.version, welcome.window, welcome.role), (1, 256, pb.ROLE_VMM))
        self.assertEqual(welcome.datagram_limit, 65536)
        self.assertEqual((len(welcome.instance), len(welcome.resume_token)), (16, 16))
        self.assertFalse(welcome.resumed)
        self.assertNotEqual(welcome.session, self.vm2.welcome.session)
        self.assertNotEqual(welcome.resume_token, self.vm2.welcome.resume_token)

    def test_hello_comes_first_and_once(self):
        with self.daemon.client(hello=False) as client:
            self.refused("hello-first", pb.STATE, client.call, "set_create", name="early")
        self.refused("hello-twice", pb.STATE, self.vm1.call, "hello", version_min=1, version_max=1)

    # F29
    def test_hello_refuses_versions_and_features_that_it_does_not_have(self):
        with self.daemon.client(hello=False) as client:
            self.refused("version-not-supported", pb.UNSUPPORTED, client.call, "hello", version_min=7, version_max=9)
            self.refused(
                "feature-not-supported",
                pb.UNSUPPORTED,
                client.call,
                "hello",
                version_min=1,
                version_max=1,
                required_features=["teleportation"],
            )

    # F10
    def test_a_set_has_the_quota_asked_for_and_a_name_of_its_own(self):
        with self.daemon.client() as client:
            self.refused("set-exists", pb.EXISTS, client.call, "set_create", name="vm1")
            self.refused("bad-argument", pb.INVALID, client.call, "set_create", name="a b")
        self.refused("set-exists", pb.EXISTS, self.vm2.call, "set_create", name="another")
        info = self.vm1.call("set_get").set_get
        self.assertEqual((info.name, info.pasids.limit, info.owned_by_session), ("vm1", 1024, True))

    def test_numbers_are_distinct_above_the_reserved_range_and_never_shared(self):
        first, second = self.vm1.allocate(count=100), self.vm2.allocate(count=100)
        self.assertEqual(len(set(first) | set(second)), 200)
        self.assertGreaterEqual(min(first + second), 1024)

    # F13
    def test_range_and_block(self):
        block = self.vm1.allocate(count=16, consecutive=True)
        self.assertEqual(block, list(range(block[0], block[0] + 16)))
        self.assertEqual(block[0] % 16, 0)
        self.assertEqual(self.vm1.allocate(min=500000, max=500000), [500000])
        self.refused("none-free", pb.EXHAUSTED, self.vm2.allocate, min=500000, max=500000)
        self.refused("bad-range", pb.INVALID, self.vm1.allocate, min=6000, max=5000)

    def test_exhausted_quota_names_limit_use_and_remedy(self):
        self.vm1.call("set_adjust", pasids=10)
        self.vm1.allocate(count=8)
        status = self.refused("set-quota", pb.QUOTA, self.vm1.allocate, count=3)
        self.assertEqual((status.limit.limit, status.limit.used), (10, 8))
        self.assertIn("10", status.message)
        self.assertIn("8", status.message)
        self.assertEqual(len(self.vm1.allocate(count=2)), 2)
        self.refused("quota-below-use", pb.QUOTA, self.vm1.call, "set_adjust", pasids=9)

    # F19
    def test_free_is_idempotent_and_the_number_rests(self):
        numbers = self.vm1.allocate(count=3)
        result = self.vm1.free(numbers[0])
        self.assertEqual((result.freed, result.unchanged), (1, 0))
        result = self.vm1.free(numbers[0], numbers[1])
        self.assertEqual((result.freed, result.unchanged), (1, 1))
        info = self.vm1.call("set_get").set_get
        self.assertEqual((info.active, info.quarantined, info.pasids.current), (1, 2, 3))
        self.refused("none-free", pb.EXHAUSTED, self.vm2.allocate, min=numbers[0], max=numbers[0])
        self.assertTrue(eventually(lambda: self.vm1.call("set_get").set_get.pasids.current == 1))
        self.assertEqual(self.vm2.allocate(min=numbers[0], max=numbers[0]), [numbers[0]])

    # F24
    def test_free_all(self):
        self.vm1.allocate(count=50)
        self.assertEqual(self.vm1.call("free", all=True).free.freed, 50)
        self.assertEqual(self.vm1.call("set_get").set_get.active, 0)

    # F5
    def test_two_sets_map_one_guest_pasid_to_two_host_pasids(self):
        one, two = self.vm1.allocate(guest_pasid=5), self.vm2.allocate(guest_pasid=5)
        self.assertNotEqual(one, two)
        self.assertEqual(self.vm1.call("guest_find", guest_pasid=5).guest_find.host_pasid, one[0])
        self.assertEqual(self.vm2.call("guest_find", guest_pasid=5).guest_find.host_pasid, two[0])

    # F16
    def test_a_guest_pasid_is_unique_in_its_set_and_can_be_moved(self):
        first, second = self.vm1.allocate(count=2)
        self.vm1.call("guest_attach", host_pasid=first, guest_pasid=9)
        self.refused(
            "guest-pasid-taken", pb.EXISTS, self.vm1.call, "guest_attach", host_pasid=second, guest_pasid=9
        )
        self.vm1.call("guest_detach", guest_pasid=9)
        self.refused("guest-pasid-unknown", pb.NOT_FOUND, self.vm1.call, "guest_find", guest_pasid=9)
        self.vm1.call("guest_attach", host_pasid=second, guest_pasid=9)
        self.assertEqual(self.vm1.call("guest_find", guest_pasid=9).guest_find.host_pasid, second)

    # F15
    def test_private_data(self):
        number = self.vm1.allocate(data=7)[0]
        self.assertEqual(self.vm1.call("host_find", host_pasid=number).host_find.data, 7)
        self.vm1.call("data_set", pasid=host(number), data=1 << 63)
        self.assertEqual(self.vm1.call("host_find", host_pasid=number).host_find.data, 1 << 63)

    def test_an_identity_set_has_no_guest_numbers(self):
        with self.daemon.client() as client:
            client.create("identity", mode=pb.SET_MODE_IDENTITY)
            number = client.allocate()[0]
            self.refused("set-mode", pb.STATE, client.call, "guest_attach", host_pasid=number, guest_pasid=1)
            client.call("set_destroy", force=True)

    # F17
    def test_foreign_numbers_look_like_numbers_that_do_not_exist(self):
        number = self.vm1.allocate(guest_pasid=3)[0]
        for call, fields in (
            ("host_find", {}),
            ("free", {"ref": True}),
            ("data_set", {"ref": True, "data": 1}),
            ("guest_attach", {"guest_pasid": 1}),
            ("unbind", {"ref": True}),
        ):
            answers = []
            for target in (number, 777777):
                arguments = {k: v for k, v in fields.items() if k != "ref"}
                if "ref" not in fields:
                    arguments["host_pasid"] = target
                elif call == "free":
                    arguments["pasids"] = [host(target)]
                else:
                    arguments["pasid"] = host(target)
                status = self.refused("no-pasid", pb.NOT_FOUND, self.vm2.call, call, **arguments)
                answers.append(status.message.replace(str(target), "N"))
            with self.subTest(call):
                self.assertEqual(answers[0], answers[1])
        self.refused("guest-pasid-unknown", pb.NOT_FOUND, self.vm2.call, "guest_find", guest_pasid=3)
        found = self.vm1.call("host_find", host_pasid=number).host_find
        self.assertEqual((found.state, found.data, found.guest_pasid), (pb.GRANT_ACTIVE, 0, 3))

    def test_foreign_sets_look_like_sets_that_do_not_exist(self):
        own = self.vm1.call("set_get").set_get.id
        self.vm1.allocate(count=5)
        for call in ("set_get", "set_destroy", "allocate", "free", "grant_list", "device_list", "binding_list"):
            fields = {"all": True} if call == "free" else {}
            for existing, missing in ((own, own + (1 << 30)), ("vm1", "nobody")):
                answers = []
                for target in (existing, missing):
                    request = self.vm2.request(call, set=set_ref(target), **fields)
                    self.vm2.send(request)
                    reply = self.vm2.wait(request.id)
                    reply.id = 0
                    reply.status.message = reply.status.message.replace(str(target), "S")
                    answers.append(reply)
                with self.subTest(call, target=target):
                    self.assertEqual(answers[0], answers[1])
        self.refused("no-set", pb.NOT_FOUND, self.vm2.call, "set_get", set=set_ref(own))
        self.refused("no-set", pb.NOT_FOUND, self.vm2.call, "set_destroy", set=set_ref(own), force=True)
        info = self.vm1.call("set_get").set_get
        self.assertEqual((info.name, info.active), ("vm1", 5))

    # F17
    def test_admins_and_observers_learn_whose_a_number_is(self):
        number = self.vm1.allocate()[0]
        for role in (pb.ROLE_ADMIN, pb.ROLE_OBSERVER):
            with self.daemon.client(role=role) as client:
                self.assertEqual(client.call("host_find", host_pasid=number).host_find.set_name, "vm1")
                idle = client.call("host_find", host_pasid=777777).host_find
                self.assertEqual(idle.state, pb.GRANT_IDLE)

    def test_observers_change_nothing(self):
        number = self.vm1.allocate()[0]
        with self.daemon.client(role=pb.ROLE_OBSERVER) as observer:
            self.refused(
                "role-not-allowed", pb.DENIED, observer.call, "free", set=set_ref("vm1"), pasids=[host(number)]
            )
            self.refused("role-not-allowed", pb.DENIED, observer.call, "set_create", name="theirs")

    def test_an_admin_acts_for_any_set(self):
        number = self.vm1.allocate()[0]
        with self.daemon.admin() as admin:
            self.assertEqual(admin.free(number, set=set_ref("vm1")).freed, 1)
            admin.create("pool", pasids=5)
            self.assertEqual(len(admin.allocate(set=set_ref("pool"), count=5)), 5)
            admin.call("set_destroy", set=set_ref("pool"), force=True)

    # F26
    def test_lists_are_paged_and_complete(self):
        numbers = self.vm1.allocate(count=25)
        listed = self.vm1.pages("grant_list", "grants", limit=4)
        self.assertEqual(sorted(grant.host_pasid for grant in listed), sorted(numbers))

    # F10
    def test_a_set_that_is_not_empty_needs_force(self):
        self.vm1.allocate()
        self.refused("set-not-empty", pb.BUSY, self.vm1.call, "set_destroy")
        self.vm1.call("set_destroy", force=True)
        self.vm1.create("vm1")

    def test_events_of_the_own_set_and_no_others(self):
        self.vm1.call("watch")
        self.vm2.allocate(guest_pasid=1)
        number = self.vm1.allocate()[0]
        event = self.vm1.wait_event(pb.EVENT_GRANT_ALLOCATED)
        self.assertEqual((event.host_pasid, event.set), (number, self.vm1.call("set_get").set_get.id))
        self.vm1.free(number)
        self.assertEqual(self.vm1.wait_event(pb.EVENT_GRANT_QUARANTINED).host_pasid, number)
        self.assertEqual(self.vm1.wait_event(pb.EVENT_GRANT_RELEASED).host_pasid, number)
        self.assertEqual([e for e in self.vm1.events if e.set != event.set], [])

    def test_counters_agree_with_a_recount(self):
        numbers = self.vm1.allocate(count=30)
        self.vm1.free(*numbers[:10])
        with self.daemon.admin() as admin:
            self.assertTrue(admin.status().consistent)

    def test_pasid_zero_is_refused(self):
        self.refused("pasid-zero", pb.INVALID, self.vm1.call, "unbind", pasid=host(0))
        self.refused("pasid-zero", pb.INVALID, self.vm1.call, "unbind", pasid=guest(0))



class Policy(unittest.TestCase):
    # F27
    def test_another_policy_waits_until_nothing_is_granted(self):
        daemon = Daemon({"quarantine": {"cooling_ms": 50}, "namespace": {"policy": "lowest"}})
        self.addCleanup(daemon.cleanup)
        with daemon.client() as vm:
            vm.create("vm")
            first = vm.allocate()[0]
            self.assertEqual(first, 1024)
            token = vm.welcome.resume_token
            daemon.stop()
        daemon.config.write_text(json.dumps({"quarantine": {"cooling_ms": 50}, "namespace": {"policy": "randomized"}}))
        daemon.start()
        with daemon.client(hello=False) as vm, daemon.admin() as admin:
            vm.say_hello(resume_token=token)
            self.assertEqual(vm.allocate(), [first + 1])
            (note,) = [note for note in admin.status().notes if "policy" in note]
            self.assertIn('"lowest"', note)
            vm.call("free", all=True)
            self.assertTrue(eventually(lambda: not [note for note in admin.status().notes if "policy" in note]))
            numbers = [vm.allocate()[0] for _ in range(8)]
            self.assertNotEqual(numbers, list(range(numbers[0], numbers[0] + 8)))



class Reservations(unittest.TestCase):
    CONFIG = {
        "quarantine": {"cooling_ms": 50},
        "namespace": {"capacity": 100},
        "reservations": [{"name": "db", "user": os.getuid(), "pasids": 60}],
    }

    def reservation(self, daemon):
        with daemon.admin() as admin:
            (found,) = [i for i in admin.pages("limit_list", "limits") if i.level == pb.LIMIT_RESERVATION]
        self.assertEqual((found.set_name, found.uid), ("db", os.getuid()))
        self.assertEqual((found.key, found.use.limit), ("reservations", 60))
        return found.use.current, found.aside

    # F25
    def test_reserved_capacity_is_there_for_its_set_and_for_nobody_else(self):
        daemon = Daemon(self.CONFIG)
        self.addCleanup(daemon.cleanup)
        self.assertEqual(self.reservation(daemon), (0, 60))
        with daemon.client() as other, daemon.client() as db:
            with self.assertRaisesRegex(Refused, "host-quota"):
                other.create("other", pasids=41)
            other.create("other", pasids=40)
            self.assertEqual(db.create("db").pasids.limit, 60)
            self.assertEqual(self.reservation(daemon), (60, 0))
            self.assertEqual(len(db.allocate(count=60)), 60)
            self.assertEqual(len(other.allocate(count=40)), 40)
            db.call("set_destroy", force=True)
        self.assertTrue(eventually(lambda: self.reservation(daemon) == (0, 60)))

    def test_what_others_were_promised_before_is_told_as_missing(self):
        daemon = Daemon({**self.CONFIG, "reservations": []})
        self.addCleanup(daemon.cleanup)
        with daemon.client() as other:
            other.create("other", pasids=70)
            token = other.welcome.resume_token
            daemon.stop()
        daemon.config.write_text(json.dumps(self.CONFIG))
        daemon.start()
        with daemon.client(hello=False) as other, daemon.admin() as admin:
            other.say_hello(resume_token=token)
            self.assertEqual(self.reservation(daemon), (0, 30))
            (note,) = [note for note in admin.status().notes if "reserved" in note]
            self.assertIn("30 reserved PASIDs", note)
            self.assertTrue(admin.status().consistent)
            admin.call("set_adjust", set=set_ref("other"), pasids=40)
            self.assertEqual(self.reservation(daemon), (0, 60))
            self.assertEqual([note for note in admin.status().notes if "reserved" in note], [])


if __name__ == "__main__":
    unittest.main()
