# SPDX-License-Identifier: MIT
"""The audit trail of a real daemon, and what pasidctl history makes of it."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import traceback
import unittest

from hostile.attack import as_user
from hostile.field import attacker_user
from pasid_client import BUILD, TIMEOUT, Daemon, Refused, daemon_user, eventually, guest, host, pb, set_ref

ONE, SHARED = "0000:00:01.0", "0000:00:03.0"
CONFIG = {
    "quarantine": {"cooling_ms": 1},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": ONE}, {"address": SHARED}]},
    "audit": {"records": 8192},
}


class Audited(unittest.TestCase):
    """A daemon with a trail."""

    def begin(self, **changes):
        self.daemon = Daemon({**CONFIG, **changes})
        self.addCleanup(self.daemon.cleanup)
        self.trail = self.daemon.folder / "audit-simulated"

    def folder(self):
        made = tempfile.TemporaryDirectory(prefix="pasidd-logs-")
        self.addCleanup(made.cleanup)
        uid, gid = daemon_user()
        os.chown(made.name, uid, gid)
        return made.name

    def kill(self):
        self.daemon.process.send_signal(signal.SIGKILL)
        self.daemon.process.wait(TIMEOUT)

    def pasidctl(self, *words):
        return subprocess.run(
            [BUILD / "pasidctl", "--socket", str(self.daemon.socket), *words],
            text=True,
            capture_output=True,
            timeout=TIMEOUT,
        )

    def history(self, *words):
        ended = self.pasidctl("--json", "history", *words)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return json.loads(ended.stdout)

    def records(self, *words):
        """Those of numbers, bindings, sets, devices and refusals."""
        return [r for r in self.history(*words)["records"] if not r["event"].startswith("daemon-")]

    def events(self, *words):
        return [record["event"] for record in self.records(*words)]


class Trail(Audited):
    """Each operation leaves its record."""

    def test_the_life_of_a_number_and_its_bindings(self):
        self.begin()
        with self.daemon.client() as vm:
            vm.create("vm1")
            device = vm.add(self.daemon, ONE).id
            vm.map_memory(device)
            number = vm.allocate(guest_pasid=5)[0]
            vm.bind(host(number), device)
            vm.map_memory(device, space=2)
            vm.call("replace", pasid=host(number), pair=pb.BindPair(device=device, table=pb.Table(space=2)))
            vm.unbind(host(number), device)
            vm.call("guest_detach", guest_pasid=5)
            vm.free(number)
            expected = ["granted", "guest-attached", "bound", "replaced", "unbinding", "unbound", "guest-detached"]
            self.assertTrue(eventually(lambda: self.events(str(number))[-1] == "free-again"))
            found = self.records(str(number))
            events = [record["event"] for record in found]
            self.assertEqual([e for e in events if e in expected and e not in ("guest-attached", "unbinding")],
                             ["granted", "bound", "replaced", "unbound", "guest-detached"])  # fmt: skip
            self.assertEqual(events[-2:], ["quarantined", "free-again"])
            by_event = {record["event"]: record for record in found}
            bound = by_event["bound"]
            self.assertEqual((bound["set"], bound["guest"], bound["address"]), ("vm1", 5, ONE))
            self.assertEqual((bound["uid"], bound["pid"], bound["operation"]), (os.geteuid(), os.getpid(), "bind"))
            self.assertEqual(by_event["granted"]["operation"], "allocate")
            self.assertEqual(by_event["unbound"]["operation"], "unbind")
            self.assertGreaterEqual(by_event["unbound"]["lasted_ms"], 0)
            self.assertGreaterEqual(by_event["quarantined"]["lasted_ms"], by_event["unbound"]["lasted_ms"])
            self.assertIsNone(by_event["free-again"]["uid"], "time did it, and nobody")
            self.assertEqual([r["sequence"] for r in found], sorted(r["sequence"] for r in found))
            self.assertFalse(any(record["doubtful"] for record in found))

    def test_neighbours_are_one_record_that_each_of_them_finds(self):
        self.begin()
        with self.daemon.client() as vm:
            vm.create("vm1")
            numbers = vm.allocate(count=64)
            self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 64)))
            vm.free(*numbers[10:20])
            found = self.records(str(numbers[12]))
            self.assertEqual([(r["event"], r["pasid"], r["count"]) for r in found][:3],
                             [("granted", numbers[0], 64), ("freed", numbers[10], 10),
                              ("quarantined", numbers[10], 10)])  # fmt: skip
            self.assertGreaterEqual(found[1]["lasted_ms"], 0)
            self.assertIsNone(found[0]["device"])
            # of a number that was in one span with others when it ended, and in another when it began
            more = vm.allocate(min=5000, max=5002, count=3) + vm.allocate(min=5003, max=5003)
            vm.free(*more)
            (freed,) = (r for r in self.records("5001") if r["event"] == "freed")
            self.assertEqual((freed["pasid"], freed["count"]), (5000, 4))
            self.assertGreaterEqual(freed["lasted_ms"], 0)
            self.assertEqual(self.events(str(numbers[63])), ["granted"])
            self.assertEqual(self.events(str(numbers[63] + 1)), [])
            self.assertIn(f" PASIDs {numbers[0]} to {numbers[63]} set vm1", self.pasidctl("history", str(numbers[63])).stdout)

    def test_sets_and_devices(self):
        self.begin()
        with self.daemon.admin() as admin:
            identity = admin.create("kept").id
            admin.call("set_adjust", set=set_ref("kept"), pasids=7)
            device = admin.add(self.daemon, ONE, set=set_ref("kept")).id
            admin.call("device_remove", device=device, set=set_ref("kept"))
            admin.call("set_destroy", set=set_ref("kept"))
        expected = ["set-created", "set-adjusted", "device-added", "device-removed", "set-ending", "set-destroyed"]
        self.assertEqual([e for e in self.events("--set", "kept") if e in expected], expected)
        self.assertEqual(self.events("--set", f"id:{identity}"), self.events("--set", "kept"))
        self.assertEqual({record["set"] for record in self.records("--set", f"id:{identity}")}, {"kept"})
        self.assertEqual(self.events("--device", ONE), ["device-added", "device-removed"])
        self.assertEqual(self.events("--device", "00:01.0"), ["device-added", "device-removed"])
        self.assertEqual(self.events("--device", ONE, "--set", "other"), [])

    def test_refusals_with_their_reasons(self):
        self.begin()
        with self.daemon.client() as vm, self.daemon.client() as other:
            vm.create("vm1", pasids=2)
            number = vm.allocate()[0]
            other.create("vm2")
            with self.assertRaises(Refused):
                vm.call("watch", **{"from": 1 << 60})  # a read that was asked wrongly: no record
            for operation, fields in (
                ("allocate", {"count": 5}),
                ("data_set", {"pasid": host(number + 1), "data": 1}),
                ("guest_detach", {"guest_pasid": 9}),
                ("set_connect", {"set": set_ref("vm1")}),
            ):
                with self.assertRaises(Refused):
                    vm.call(operation, **fields)
            with self.assertRaises(Refused):
                other.bind(host(number), 4711)
            with self.assertRaises(Refused):
                other.send_raw(b"\xff\xff\xff")
                other.receive()
        found = {r["operation"]: r for r in self.records() if r["event"] == "refused"}
        self.assertNotIn("watch", found)
        self.assertEqual(found["allocate"]["reason"], "set-quota")
        self.assertEqual((found["data-set"]["reason"], found["data-set"]["pasid"]), ("no-pasid", number + 1))
        self.assertEqual((found["guest-detach"]["guest"], found["guest-detach"]["set"]), (9, "vm1"))
        self.assertEqual(found["set-connect"]["reason"], "role-not-allowed")
        self.assertEqual((found["bind"]["set"], found["bind"]["pasid"]), ("vm2", number))
        self.assertEqual(found["bind"]["uid"], os.geteuid())
        self.assertEqual(found[None]["reason"], "malformed")

    def test_what_an_admin_does_to_a_set_is_the_admins_and_about_the_set(self):
        self.begin()
        with self.daemon.admin() as admin:
            of = {"set": set_ref("vm1")}
            admin.create("vm1")
            device = admin.add(self.daemon, ONE, **of).id
            admin.map_memory(device, **of)
            number = admin.allocate(guest_pasid=5, **of)[0]
            admin.bind(guest(5), device, **of)
            with self.assertRaises(Refused):
                admin.bind(guest(5), device, **of)
            with self.assertRaises(Refused):
                admin.map_memory(device, **of)
            admin.unbind(host(number), device, **of)
        found = self.records("--set", "vm1", "--device", ONE)
        for event in ("bound", "unbound", "refused"):
            (record,) = (r for r in found if r["event"] == event and r["operation"] in ("bind", "unbind"))
            self.assertEqual((record["uid"], record["pid"]), (os.geteuid(), os.getpid()), event)
            self.assertEqual((record["pasid"] or number, record["guest"]), (number, 5), event)
        self.assertIn("memory-map", [r["operation"] for r in found if r["event"] == "refused"])

    def test_the_end_of_a_session_is_its_users(self):
        self.begin(session={"grace_ms": 1})
        with self.daemon.client() as vm:
            vm.create("vm1")
            number = vm.allocate()[0]
        self.assertTrue(eventually(lambda: "free-again" in self.events(str(number))))
        ending = [r for r in self.records("--set", "vm1") if r["event"] == "set-ending"]
        self.assertEqual([(r["uid"], r["operation"]) for r in ending], [(os.geteuid(), None)])

    def test_a_flood_of_refusals_washes_nothing_else_away(self):
        self.begin()
        with self.daemon.client() as vm, self.daemon.client() as hostile:
            vm.create("victim")
            number = vm.allocate()[0]
            hostile.create("hostile")
            for _ in range(16):
                requests = [hostile.request("data_set", pasid=host(1 << 19), data=1) for _ in range(200)]
                hostile.send(*requests)
                for request in requests:
                    self.assertEqual(hostile.wait(request.id).status.reason, "no-pasid")
        self.assertEqual(self.events(str(number))[0], "granted")
        self.assertIn("set-created", self.events("--set", "victim"))
        refused = self.history("--set", "hostile", "--limit", "0")
        self.assertEqual([r["event"] for r in refused["records"]].count("refused"), 1024)
        self.assertIsNone(refused["complete_since"], "numbers and bindings are complete")

    def test_churn_of_one_set_leaves_binds_of_others(self):
        self.begin()
        with self.daemon.client() as vm, self.daemon.client() as busy:
            vm.create("victim")
            device = vm.add(self.daemon, ONE).id
            vm.map_memory(device)
            number = vm.allocate()[0]
            vm.bind(host(number), device)
            busy.create("busy", pasids=1024)
            for _ in range(5):
                numbers = busy.allocate(count=900)
                busy.free(*numbers[::2])  # no neighbours, which would be one record
                busy.free(*numbers[1::2])
                self.assertTrue(eventually(lambda: busy.call("set_get").set_get.pasids.current == 0))
        self.assertEqual([e for e in self.events(str(number)) if e in ("granted", "bound")], ["bound"])
        self.assertIsNotNone(self.history(str(number))["complete_since"])

    def test_no_trail_when_it_is_not_wanted_and_a_note_when_it_cannot_be(self):
        self.begin(audit={"records": 0})
        self.assertFalse(self.trail.exists())
        ended = self.pasidctl("history", "1024")
        self.assertEqual(ended.returncode, 4)
        self.assertIn("--file", ended.stderr)
        self.begin(audit={"path": "/nonexistent/audit"})
        with self.daemon.admin() as admin:
            self.assertTrue(any("There is no audit trail" in note for note in admin.status().notes))
            admin.create("vm1")

    def test_it_is_where_systemd_wants_it_and_found_by_its_name(self):
        logs = self.folder()
        self.daemon = Daemon(CONFIG, environment={"LOGS_DIRECTORY": logs})
        self.addCleanup(self.daemon.cleanup)
        with self.daemon.admin() as admin:
            admin.create("vm1")
        self.assertEqual(os.listdir(logs), ["audit-simulated"])
        self.assertEqual(os.stat(f"{logs}/audit-simulated").st_mode & 0o777, 0o640)
        self.assertIn("set-created", self.events("--set", "vm1"))


class Shares(Audited):
    """Of the refusals, of which the trail of these tests keeps 1024, each user has a share."""

    PLACES = 1024
    ASKED = (
        ("allocate", {"count": 50}),
        ("guest_detach", {"guest_pasid": 9}),
        ("set_connect", {"set": set_ref("another")}),
        ("bind", {"pasid": host(1 << 18), "pairs": [pb.BindPair(device=4711)]}),
    )

    @staticmethod
    def flood(client, number, batches=16):
        for _ in range(batches):
            requests = [client.request("data_set", pasid=host(number), data=1) for _ in range(200)]
            client.send(*requests)
            for request in requests:
                assert client.wait(request.id).status.reason == "no-pasid"

    def flood_as(self, uid, name):
        """Another user is refused 3200 times, in a process of its own."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                as_user(uid)
                with self.daemon.client() as hostile:
                    hostile.create(name)
                    self.flood(hostile, 1 << 19)
                status = 0
            except BaseException:  # pylint: disable=broad-exception-caught
                traceback.print_exc()
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)

    def ask(self, client):
        for operation, fields in self.ASKED:
            with self.assertRaises(Refused):
                client.call(operation, **fields)

    def refused(self, uid):
        found = self.history("--limit", "0")["records"]
        return [r["operation"] for r in found if r["event"] == "refused" and r["uid"] == uid]

    @unittest.skipUnless(os.geteuid() == 0, "only root can be several users")
    def test_a_flood_of_one_user_leaves_what_others_were_refused(self):
        self.begin()
        self.daemon.folder.chmod(0o755)
        uid, own = attacker_user(), os.geteuid()
        expected = [operation.replace("_", "-") for operation, _ in self.ASKED]
        with self.daemon.client() as vm:
            vm.create("victim", pasids=10)
            self.ask(vm)
        self.flood_as(uid, "hostile")
        self.assertEqual(self.refused(own), expected)
        self.assertEqual(len(self.refused(uid)), self.PLACES - len(expected))
        with self.daemon.client() as vm:  # the places are all taken by then
            vm.create("late", pasids=10)
            self.ask(vm)
        self.kill()
        self.daemon.start()
        self.flood_as(uid, "hostile-again")
        self.assertEqual(self.refused(own), expected * 2)
        self.assertEqual(len(self.refused(uid)), self.PLACES - 2 * len(expected))

    def test_a_flood_leaves_what_else_its_user_was_refused(self):
        """But for what a hash takes for the same, which may be one of them."""
        self.begin()
        with self.daemon.client() as vm:
            vm.create("vm1", pasids=10)
            self.ask(vm)
            self.flood(vm, 1 << 19)
        found = self.refused(os.geteuid())
        self.assertEqual(len(found), self.PLACES)
        self.assertGreaterEqual(len(set(found) - {"data-set"}), len(self.ASKED) - 1)


class Restarted(Audited):
    """It outlives the daemon."""

    def test_a_killed_daemon_loses_no_record_of_what_it_acknowledged(self):
        self.begin()
        numbers = []
        for round_ in range(5):
            with self.daemon.admin() as admin:
                if round_ == 0:
                    admin.create("vm1")
                numbers += admin.allocate(set=set_ref("vm1"), count=3)
                self.kill()
            self.daemon.start()
        granted = [r for r in self.records("--set", "vm1") if r["event"] == "granted"]
        self.assertEqual([r["pasid"] + i for r in granted for i in range(r["count"])], numbers)
        found = self.history("--set", "vm1")["records"]
        self.assertEqual([r["event"] for r in found].count("daemon-started"), 5)
        self.assertFalse([r for r in found if r["doubtful"] and r["event"] != "granted"])

    def test_what_a_restart_finds_and_the_stop_itself(self):
        self.begin()
        with self.daemon.client() as vm:
            vm.create("vm1")
            device = vm.add(self.daemon, ONE).id
            vm.map_memory(device)
            number = vm.allocate()[0]
            vm.bind(host(number), device)
            self.kill()
            self.daemon.start()
            # Without a store its worker went, too: what was bound is lost.
            self.assertTrue(eventually(lambda: "bound" != self.events(str(number))[-1]))
            events = [r["event"] for r in self.history(str(number))["records"]]
            self.assertLess(events.index("bound"), events.index("daemon-started"))
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.history(str(number))["records"][-1]["event"], "daemon-stopped")

    def test_another_size_begins_anew_and_keeps_the_old_one(self):
        self.begin()
        with self.daemon.admin() as admin:
            admin.create("vm1")
        self.daemon.stop()
        self.daemon.config.write_text(json.dumps({**CONFIG, "audit": {"records": 16384}}))
        self.daemon.start()
        self.assertEqual(self.events("--set", "vm1"), [])
        self.assertIn("set-created", self.events("--set", "vm1", "--file", f"{self.trail}.old"))
        for records in (8192, 16384, 8192):
            self.assertNotIn("was replaced", self.daemon.log())
            self.daemon.stop()
            self.daemon.config.write_text(json.dumps({**CONFIG, "audit": {"records": records}}))
            self.daemon.start()
        self.assertIn("set-created", self.events("--set", "vm1", "--file", f"{self.trail}.old.3"))
        self.assertNotIn("was replaced", self.daemon.log())
        self.daemon.stop()
        self.daemon.config.write_text(json.dumps({**CONFIG, "audit": {"records": 16384}}))
        self.daemon.start()
        self.assertIn("*.old.3, the oldest of four, was replaced", self.daemon.log())
        self.assertEqual(self.events("--set", "vm1", "--file", f"{self.trail}.old.3"), [])


class Shown(Audited):
    """pasidctl history for people."""

    def test_lines_and_what_is_so_now(self):
        self.begin(quarantine={"cooling_ms": 60000})
        with self.daemon.client() as vm:
            vm.create("vm1")
            number = vm.allocate(guest_pasid=7)[0]
            lines = self.pasidctl("history", str(number)).stdout.splitlines()
            self.assertRegex(
                lines[0],
                rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}}  granted +PASID {number} guest 7 set vm1  "
                rf"\(user {os.geteuid()}, process {os.getpid()}, allocate\)$",
            )
            self.assertRegex(lines[-1], rf"^now +active +PASID {number} guest 7 set vm1, 0 bindings$")
            vm.free(number)
        text = self.pasidctl("history", str(number)).stdout
        self.assertRegex(text, r"quarantined .*, after \d+\.\d{3} s  \(user")
        self.assertRegex(text.splitlines()[-1], r"^now +quarantined ")
        self.daemon.stop()
        self.assertNotIn("now", self.pasidctl("history", str(number)).stdout)

    def test_a_copy_is_read_elsewhere(self):
        self.begin()
        with self.daemon.admin() as admin:
            admin.create("vm1")
            number = admin.allocate(set=set_ref("vm1"))[0]
        copy = self.daemon.folder / "copy"
        shutil.copy(self.trail, copy)
        found = self.history(str(number), "--file", str(copy))
        self.assertEqual(found["now"], None)
        self.assertEqual(found["file"], str(copy))
        self.assertEqual(found["records"][0]["event"], "granted")
        with open(copy, "r+b") as file:  # the version
            file.seek(8)
            file.write(b"\x63")
        ended = self.pasidctl("--json", "history", "--file", str(copy))
        self.assertEqual(ended.returncode, 1)
        self.assertIn("another version", json.loads(ended.stdout)["message"])

    def test_limits_times_and_what_is_none(self):
        self.begin()
        with self.daemon.admin() as admin:
            admin.create("vm1")
            for _ in range(10):
                admin.allocate(set=set_ref("vm1"))
        found = self.history("--set", "vm1", "--limit", "3")
        self.assertEqual((len(found["records"]), found["passed_over"]), (3, 8))
        self.assertEqual(len(self.records("--set", "vm1", "--since", "1h")), 11)
        self.assertEqual(self.records("--set", "vm1", "--since", "2999-01-01"), [])
        self.assertIn("--limit 0", self.pasidctl("history", "--set", "vm1", "--limit", "3").stdout)
        self.assertIn("Nothing", self.pasidctl("history", "4711").stdout)
        for wrong in (["1048576"], ["x"], ["--device", "1:2"], ["--since", "soon"], ["1", "2"]):
            self.assertEqual(self.pasidctl("history", *wrong).returncode, 2, wrong)


class Journal(Audited):
    """Lines of the log have what they are about as fields."""

    def test_names_addresses_and_users(self):
        self.begin()
        with self.daemon.client() as vm:
            identity = vm.create("vm1").id
            device = vm.add(self.daemon, ONE).id
            vm.map_memory(device)
            number = vm.allocate(guest_pasid=5)[0]
            vm.bind(host(number), device)
            with self.assertRaises(Refused):
                vm.bind(guest(6), device)
        session = rf"session=\d+ vm=vm1 set={identity}"
        for line in (
            rf"set created \[operation=set-create {session} uid={os.geteuid()}\]",
            rf"bound \[operation=bind {session} device={ONE} device_id={device} pasid={number} guest_pasid=5 "
            rf"uid={os.geteuid()}\]",
            rf"bind refused: .* \[operation=bind reason=guest-pasid-unknown {session} device={ONE} "
            rf"device_id={device} guest_pasid=6 uid={os.geteuid()}\]",
        ):
            self.assertRegex(self.daemon.log(), line)

    def test_refusals_are_counted_where_they_are_left_out(self):
        self.begin()
        with self.daemon.client() as vm:
            vm.create("vm1")
            for _ in range(80):
                with self.assertRaises(Refused):
                    vm.call("data_set", pasid=host(99999), data=1)
        self.assertLess(self.daemon.log().count("data-set refused"), 51)
        expected = f"lines that clients of user {os.geteuid()} caused were left out [operation=log uid={os.geteuid()}]"

        def said():
            with self.daemon.client():
                return expected in self.daemon.log()

        self.assertTrue(eventually(said), self.daemon.log())


if __name__ == "__main__":
    unittest.main()
