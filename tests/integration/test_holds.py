# SPDX-License-Identifier: MIT
"""Holds: references of sessions to numbers, which are not reclaimed while one lasts."""

import json
import os
import subprocess
import unittest

from pasid_client import Client, Daemon, Refused, Vmm, eventually, pb, set_ref
from test_pasidctl import PASIDCTL

CONFIG = {
    "quarantine": {"cooling_ms": 200},
    "session": {"grace_ms": 20000},
    "roles": {"participants": {"everyone": True}},
    "limits": {"holds": {"user": 3}},
}


class Holds(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.daemon.admin()
        self.vmm = self.daemon.client()
        self.holder = self.daemon.client(role=pb.ROLE_PARTICIPANT)
        for client in (self.admin, self.vmm, self.holder):
            self.addCleanup(client.close)
        self.set = self.vmm.create("vm", pasids=16).id
        self.number = self.vmm.allocate()[0]

    def hold(self, client, number=None, **key):
        client.call("hold", set=set_ref(key.get("key", "vm")), host_pasid=number or self.number)

    def release(self, client, key="vm"):
        client.call("release", set=set_ref(key), host_pasid=self.number)

    def found(self):
        return self.admin.call("host_find", host_pasid=self.number).host_find

    def refused(self, reason, function, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            function(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception

    # F18
    def test_a_number_is_reclaimed_at_the_last_release(self):
        self.hold(self.holder)
        self.hold(self.holder)
        self.hold(self.vmm)
        self.vmm.free(self.number)
        self.assertEqual((self.found().state, self.found().holds), (pb.GRANT_FREE_PENDING, 3))
        self.refused("not-active", self.hold, self.admin)
        self.refused("not-held", self.release, self.admin)
        self.release(self.vmm)
        self.release(self.holder)
        self.assertEqual(self.found().state, pb.GRANT_FREE_PENDING)
        self.release(self.holder)
        self.refused("not-held", self.release, self.holder)
        self.assertEqual(self.found().state, pb.GRANT_QUARANTINED)
        self.assertTrue(eventually(lambda: self.found().state == pb.GRANT_IDLE))
        self.assertTrue(self.admin.status().consistent)

    # F18
    def test_a_killed_holder_holds_nothing(self):
        def machine(client):
            client.call("hold", set=set_ref("vm"), host_pasid=self.number)

        holder = Vmm(self.daemon, machine, lambda: self.daemon.client(role=pb.ROLE_PARTICIPANT))
        self.addCleanup(holder.kill)
        self.assertEqual(self.found().holds, 1)
        self.vmm.free(self.number)
        holder.kill()
        self.assertTrue(eventually(lambda: self.found().state != pb.GRANT_FREE_PENDING))

    def test_a_hold_outlives_the_set_and_keeps_its_number(self):
        self.hold(self.holder)
        self.vmm.call("set_destroy", force=True)
        self.assertTrue(eventually(lambda: list(self.found().quarantine) == ["held"]))
        self.refused("held", self.admin.call, "quarantine_end", host_pasid=self.number)
        self.assertEqual([held.set_name for held in self.holder.pages("hold_list", "holds")], ["vm"])
        self.release(self.holder, key=self.set)
        self.assertEqual(self.found().state, pb.GRANT_IDLE)
        self.assertTrue(self.admin.status().consistent)

    def test_a_lost_connection_and_a_restart_keep_holds(self):
        self.hold(self.holder)
        token = self.holder.welcome.resume_token
        self.holder.close()
        self.assertEqual(self.found().holds, 1)
        os.kill(self.daemon.process.pid, 9)
        self.daemon.process.wait()
        self.daemon.start()
        admin = self.daemon.admin()
        self.addCleanup(admin.close)
        self.assertEqual(admin.call("host_find", host_pasid=self.number).host_find.holds, 1)
        again = Client(self.daemon.socket, role=pb.ROLE_PARTICIPANT, resume=token, first_id=100)
        self.addCleanup(again.close)
        again.call("release", set=set_ref("vm"), host_pasid=self.number)
        self.assertEqual(admin.call("host_find", host_pasid=self.number).host_find.holds, 0)
        self.assertTrue(admin.status().consistent)

    def test_asked_twice_it_is_held_once(self):
        request = self.holder.request("hold", set=set_ref("vm"), host_pasid=self.number)
        for _ in range(3):
            self.holder.send(request)
            self.holder.result(request.id)
        self.assertEqual(self.found().holds, 1)

    def test_a_users_holds_are_limited_and_others_are_seen_by_admins_only(self):
        for number in self.vmm.allocate(count=3):
            self.hold(self.holder, number)
        self.assertIn("limits.holds.user", str(self.refused("limit", self.hold, self.vmm)))
        self.assertEqual(self.vmm.pages("hold_list", "holds"), [])
        self.assertEqual(len(self.admin.pages("hold_list", "holds", set=set_ref("vm"))), 3)
        self.refused("no-pasid", self.hold, self.holder, 77777)
        self.refused("no-set", self.hold, self.holder, key="nobody")
        limits = {limit.key: limit.use for limit in self.admin.pages("limit_list", "limits")}
        self.assertEqual(limits["limits.holds.host"].current, 3)

    def test_what_a_vmm_may_not_see_it_may_not_hold(self):
        with self.daemon.client() as other:
            self.refused("no-set", self.hold, other)
            other.create("other")
            self.refused("no-pasid", other.call, "hold", host_pasid=self.number)

    def test_events_tell_each_hold_and_its_end(self):
        self.admin.call("watch")
        self.hold(self.holder)
        self.assertEqual(self.admin.wait_event(pb.EVENT_GRANT_HELD).host_pasid, self.number)
        self.release(self.holder)
        self.assertEqual(self.admin.wait_event(pb.EVENT_GRANT_LET_GO).host_pasid, self.number)

    def test_pasidctl_holds_while_a_command_runs(self):
        def ctl(*words):
            line = [PASIDCTL, "--socket", str(self.daemon.socket), *words]
            return subprocess.run(line, text=True, capture_output=True, timeout=30)

        inner = f"{PASIDCTL} --socket {self.daemon.socket} --json holds"
        ran = ctl("hold", "--set", "vm", str(self.number), "--", "sh", "-c", f"{inner}; exit 7")
        self.assertEqual(ran.returncode, 7, ran.stderr)
        (held,) = json.loads(ran.stdout)
        self.assertEqual(
            (held["pasid"], held["set"], held["times"], held["state"]), (self.number, "vm", 1, "active")
        )
        self.assertTrue(eventually(lambda: self.found().holds == 0))
        self.assertEqual(ctl("hold", "--set", "vm", "nine", "--", "true").returncode, 2)
        self.assertEqual(ctl("hold", "--set", "vm", "99", "--", "true").returncode, 1)
        self.assertEqual(ctl("hold", "--set", "vm", str(self.number), "--", "/nonexistent").returncode, 4)
        self.assertEqual(ctl("hold", "--set", "vm", str(self.number), "--", "sh", "-c", "kill -9 $$").returncode, 137)


if __name__ == "__main__":
    unittest.main()
