# SPDX-License-Identifier: MIT
"""Events: each transition once, replay, filters; and participants, whose acknowledgement is awaited."""

import os
import threading
import time
import unittest

from pasid_client import Client, Daemon, Refused, Vmm, eventually, guest, host, pb, set_ref

ONE, SHARED = "0000:00:01.0", "0000:00:02.0"
CONFIG = {
    "quarantine": {"cooling_ms": 150},
    "session": {"grace_ms": 20000},
    "roles": {"participants": {"everyone": True}},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": ONE}, {"address": SHARED}]},
}


class Events(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.connect(role=pb.ROLE_ADMIN)

    def connect(self, **options):
        client = Client(self.daemon.socket, **options)
        self.addCleanup(client.close)
        return client

    def restart_with(self, **participants):
        self.daemon.cleanup()
        self.daemon = Daemon({**CONFIG, "participants": participants})
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.connect(role=pb.ROLE_ADMIN)

    def find(self, number):
        return self.admin.call("host_find", host_pasid=number).host_find

    def why(self, number):
        return set(self.find(number).quarantine)

    def heard(self, client, last, timeout=10):
        """Names of the kinds, up to the first one of that kind."""
        names = []
        while not names or names[-1] != last:
            while not client.events:
                self.assertTrue(client.receive(), names)
            names.append(pb.EventKind.Name(client.events.pop(0).kind).removeprefix("EVENT_"))
        return names

    # F20
    def test_each_transition_is_told_once(self):
        watcher = self.connect(role=pb.ROLE_OBSERVER)
        watcher.call("watch", set_name="vm")
        vmm = self.connect()
        vmm.create("vm", pasids=8)
        device = vmm.call("device_slice", address=SHARED).device_slice
        vmm.map_memory(device.id)
        number = vmm.allocate(guest_pasid=5)[0]
        vmm.call("data_set", pasid=host(number), data=3)
        vmm.call("hold", host_pasid=number)
        vmm.bind(guest(5), device.id)
        vmm.unbind(host(number))
        vmm.free(number)
        vmm.call("release", host_pasid=number)
        self.assertEqual(
            self.heard(watcher, "GRANT_WAITING"),
            [
                *("SET_CREATED", "DEVICE_ADDED", "GRANT_ALLOCATED", "GRANT_DATA", "GRANT_HELD"),
                *("BINDING_BOUND", "BINDING_UNBINDING", "BINDING_UNBOUND", "GUEST_DETACHED", "GRANT_FREE_PENDING"),
                *("GRANT_LET_GO", "GRANT_QUARANTINED", "GRANT_WAITING"),
            ],
        )
        self.admin.call("device_drained", device=device.shared)
        vmm.call("set_destroy", force=True)
        self.assertEqual(
            self.heard(watcher, "SET_DESTROYED"),
            ["BINDING_DRAINED", "GRANT_RELEASED", "SET_ENDING", "DEVICE_REMOVED", "SET_DESTROYED"],
        )

    # F21
    def test_a_watch_goes_on_where_it_was_after_a_restart(self):
        self.admin.call("watch")
        self.admin.create("vm", pasids=8)
        last = self.admin.wait_event(pb.EVENT_SET_CREATED).sequence
        token = self.admin.welcome.resume_token
        self.admin.close()
        os.kill(self.daemon.process.pid, 9)
        self.daemon.process.wait()
        self.daemon.start()
        other = self.connect(role=pb.ROLE_ADMIN)
        other.create("next", pasids=8)
        again = self.connect(role=pb.ROLE_ADMIN, resume=token, first_id=100)
        reply = again.call("watch", **{"from": last + 1}).watch
        self.assertGreaterEqual(reply.next_sequence, last + 2)
        lost = again.wait_event(pb.EVENT_UNSPECIFIED)  # of the run before nothing is kept
        self.assertEqual(lost.sequence + 1, reply.oldest_sequence)
        self.assertGreater(lost.lost, 0)
        self.assertGreater(again.wait_event(pb.EVENT_SET_CREATED).sequence, lost.sequence)

    def test_what_was_missed_is_replayed_to_another_connection(self):
        first = self.admin.call("watch").watch.next_sequence
        self.admin.call("watch", stop=True)
        for name in ("one", "two", "three"):
            self.admin.create(name)
        observer = self.connect(role=pb.ROLE_OBSERVER)
        observer.call("watch", set_name="two", **{"from": first})
        self.admin.call("set_destroy", set=set_ref("two"))
        self.assertEqual(self.heard(observer, "SET_DESTROYED"), ["SET_CREATED", "SET_ENDING", "SET_DESTROYED"])
        with self.assertRaisesRegex(Refused, "still to come"):
            observer.call("watch", **{"from": 1 << 40})

    # F22
    def test_a_freed_number_waits_for_its_participant(self):
        participant = self.connect(role=pb.ROLE_PARTICIPANT)
        participant.call("watch", acknowledge=True, priority=pb.EVENT_PRIORITY_CPU)
        vmm = self.connect()
        vmm.create("vm", pasids=8)
        first, second = vmm.allocate(count=2)
        vmm.free(first)
        self.assertEqual(participant.wait_event(pb.EVENT_GRANT_FREE_PENDING).host_pasid, first)
        self.assertTrue(eventually(lambda: self.why(first) == {"unacknowledged"}))
        vmm.call("set_destroy", force=True)  # is not held up
        self.assertTrue(eventually(lambda: self.why(second) == {"unacknowledged"}))
        done = participant.call("acknowledge", host_pasids=[first, first, 77777]).acknowledge
        self.assertEqual((done.acknowledged, done.unchanged), (1, 2))
        self.assertEqual(self.find(first).state, pb.GRANT_IDLE)
        token = participant.welcome.resume_token
        participant.close()
        os.kill(self.daemon.process.pid, 9)
        self.daemon.process.wait()
        self.daemon.start()
        self.admin = self.connect(role=pb.ROLE_ADMIN)
        self.assertTrue(eventually(lambda: self.why(second) == {"unacknowledged"}))
        again = self.connect(role=pb.ROLE_PARTICIPANT, resume=token, first_id=100)
        self.assertEqual(again.call("acknowledge", host_pasids=[second]).acknowledge.acknowledged, 1)
        self.assertEqual(self.find(second).state, pb.GRANT_IDLE)
        self.assertTrue(self.admin.status().consistent)

    # F22
    def test_a_participant_that_is_killed_is_waited_for_no_more(self):
        def machine(client):
            client.call("watch", acknowledge=True)

        participant = Vmm(self.daemon, machine, lambda: self.daemon.client(role=pb.ROLE_PARTICIPANT))
        self.addCleanup(participant.kill)
        vmm = self.connect()
        vmm.create("vm", pasids=8)
        first, second = vmm.allocate(count=2)
        vmm.free(first, second)
        self.assertTrue(eventually(lambda: self.why(first) == {"unacknowledged"}))
        self.admin.call("quarantine_end", host_pasid=second)
        self.assertEqual(self.find(second).state, pb.GRANT_IDLE)
        participant.kill()
        self.assertTrue(eventually(lambda: self.find(first).state == pb.GRANT_IDLE))

    def bound(self, count=1):
        """A VMM with numbers that are bound to its part of the shared device; and that."""
        vmm = self.connect()
        vmm.create("vm", pasids=8)
        device = vmm.call("device_slice", address=SHARED).device_slice
        vmm.map_memory(device.id)
        numbers = vmm.allocate(count=count)
        for number in numbers:
            vmm.bind(host(number), device.id)
        return vmm, device, numbers

    def unbinding(self, vmm, number):
        """Unbinds beside us; what it returns is joined when that is done."""
        thread = threading.Thread(target=vmm.unbind, args=(host(number),))
        thread.start()
        self.addCleanup(thread.join)
        return thread

    def states(self):
        return {b.host_pasid: b.state for b in self.admin.pages("binding_list", "bindings")}

    # F22
    def test_an_unbind_waits_for_its_participant(self):
        self.restart_with(unbind_wait_ms=60000)
        participant = self.connect(role=pb.ROLE_PARTICIPANT)
        before = participant.call("watch", acknowledge=True).watch.next_sequence - 1
        vmm, device, (first, second) = self.bound(2)
        unbind = self.unbinding(vmm, first)
        told = participant.wait_event(pb.EVENT_BINDING_UNBINDING)
        self.assertEqual((told.host_pasid, told.device), (first, device.id))
        self.assertEqual(self.states(), {first: pb.BINDING_UNBINDING, second: pb.BINDING_BOUND})
        # what it says of earlier events, and of other numbers, is not about this
        self.assertEqual(participant.call("acknowledge", host_pasids=[first], seen=before).acknowledge.unchanged, 1)
        self.assertEqual(participant.call("acknowledge", host_pasids=[second]).acknowledge.unchanged, 1)
        self.assertEqual(self.states()[first], pb.BINDING_UNBINDING)
        done = participant.call("acknowledge", host_pasids=[first], seen=told.sequence).acknowledge
        self.assertEqual(done.acknowledged, 1)
        unbind.join(10)
        self.assertEqual(self.states(), {second: pb.BINDING_BOUND})
        # the end of a set is not held up
        self.unbinding(vmm, second)
        self.assertEqual(participant.wait_event(pb.EVENT_BINDING_UNBINDING).host_pasid, second)
        self.admin.call("set_destroy", set=set_ref("vm"), force=True)
        self.assertEqual(self.states(), {})
        self.assertTrue(self.admin.status().consistent)

    # F22
    def test_a_participant_that_never_answers_costs_one_wait_and_is_named(self):
        self.restart_with(unbind_wait_ms=300)
        participant = self.connect(role=pb.ROLE_PARTICIPANT)
        participant.call("watch", acknowledge=True)
        vmm, _, numbers = self.bound(4)
        started = time.monotonic()
        vmm.unbind(host(numbers[0]))
        self.assertGreater(time.monotonic() - started, 0.29)
        late = participant.wait_event(pb.EVENT_UNBIND_UNACKNOWLEDGED)
        self.assertEqual(late.host_pasid, numbers[0])
        started = time.monotonic()
        for number in numbers[1:3]:
            vmm.unbind(host(number))
        self.assertLess(time.monotonic() - started, 0.3)
        named = f"Participant {participant.welcome.session} (user {os.getuid()}, process {os.getpid()}) let 1 unbinds"
        self.assertIn(named, " ".join(self.admin.status().notes))
        self.assertNotIn("Participant", " ".join(vmm.status().notes))
        logged = f"session={participant.welcome.session} vm=vm set={late.set} pasid={numbers[0]}]"
        self.assertTrue(eventually(lambda: logged in self.daemon.log()), self.daemon.log())
        # the number is kept from others until it has
        vmm.free(numbers[0])
        self.assertTrue(eventually(lambda: "unacknowledged" in self.why(numbers[0])))
        participant.call("acknowledge", host_pasids=[numbers[0]])
        self.assertNotIn("Participant", " ".join(self.admin.status().notes))
        started = time.monotonic()
        vmm.unbind(host(numbers[3]))
        self.assertGreater(time.monotonic() - started, 0.29)

    def test_only_participants_are_waited_for(self):
        participant = self.connect(role=pb.ROLE_PARTICIPANT)
        for client, fields in (
            (self.admin, {"acknowledge": True}),
            (participant, {"acknowledge": True, "set_name": "vm"}),
            (participant, {"acknowledge": True, "kinds": [pb.EVENT_SET_CREATED]}),
        ):
            with self.assertRaises(Refused):
                client.call("watch", **fields)
        with self.assertRaises(Refused):
            participant.call("acknowledge", host_pasids=[0])


if __name__ == "__main__":
    unittest.main()
