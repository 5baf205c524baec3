# SPDX-License-Identifier: MIT
"""SIGHUP: what is read anew is applied, what cannot be is said, and an error changes nothing."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import unittest

from pasid_client import TIMEOUT, Closed, Daemon, Refused, eventually, host, pb

ONE, SHARED, OTHER = (f"0000:00:0{i}.0" for i in (1, 2, 3))
MINE = {"users": [os.geteuid()]}
CONFIG = {
    "quarantine": {"cooling_ms": 20},
    "simulate": {"devices": [{"address": address} for address in (ONE, SHARED, OTHER)]},
}


def shared(address, **who):
    return {"address": address, "use": "shared", **(who or {"everyone": True})}


class Reload(unittest.TestCase):
    def setUp(self):
        self.start(CONFIG)

    def start(self, config):
        if hasattr(self, "daemon"):
            self.daemon.cleanup()
        self.daemon = Daemon(config)
        self.addCleanup(self.daemon.cleanup)

    def write(self, config=None, text=None, **sections):
        self.daemon.config.write_text(text or json.dumps({**CONFIG, **(config or {}), **sections}))

    def hang_up(self):
        self.daemon.process.send_signal(signal.SIGHUP)

    def lines(self, text):
        return [line for line in self.daemon.log().splitlines() if text in line]

    def reload(self, expected="settings applied: ", **options):
        """Has it read, and waits until it has; returns the line of the log."""
        before = len(self.lines(expected))
        if options:
            self.write(**options)
        self.hang_up()
        self.assertTrue(eventually(lambda: len(self.lines(expected)) > before), self.daemon.log())
        return self.lines(expected)[-1]

    def connect(self, **options):
        client = self.daemon.client(**options)
        self.addCleanup(client.close)
        return client

    def vmm(self, name, **fields):
        client = self.connect()
        client.create(name, **fields)
        return client

    def notes(self):
        with self.daemon.admin() as admin:
            return " ".join(admin.status().notes)

    def refused(self, reason, call, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)

    # -- applied

    def test_numbers_are_applied_and_named(self):
        one = self.vmm("one")
        line = self.reload(quota={"set_default": 3, "set_max": 3}, session={"grace_ms": 4321})
        for key in ("quota.set_default", "quota.set_max", "session.grace_ms"):
            self.assertIn(key, line)
        self.assertNotIn("quarantine", line)
        other = self.vmm("other")
        self.assertEqual(len(other.allocate(count=3)), 3)
        self.refused("set-quota", other.allocate)
        self.assertEqual(len(one.allocate(count=4)), 4)  # it keeps the quota that it has
        self.assertEqual((one.welcome.grace_ms, other.welcome.grace_ms), (30000, 4321))
        self.assertIn("nothing has changed", self.reload())

    def test_limits_below_what_is_in_use_refuse_only_what_is_new(self):
        one = self.vmm("one")
        numbers = one.allocate(count=8)
        self.reload(limits={"pasids": {"host": 4}})
        self.refused("host-quota", one.allocate)
        one.free(*numbers[:5])
        self.assertTrue(eventually(lambda: self.can_allocate(one)))
        self.reload(limits={})
        self.assertEqual(len(one.allocate(count=8)), 8)
        with self.daemon.admin() as admin:
            self.assertTrue(admin.status().consistent)

    @staticmethod
    def can_allocate(client):
        with contextlib.suppress(Refused):
            return bool(client.allocate())
        return False

    def test_reservations_are_set_aside_as_after_a_restart(self):
        self.vmm("greedy", pasids=60)
        self.reload(namespace={"capacity": 100}, reservations=[{"name": "db", "user": os.geteuid(), "pasids": 50}])
        self.assertIn("10 reserved PASIDs", self.notes())
        self.refused("host-quota", self.vmm, "other", pasids=1)
        self.vmm("db", pasids=40)
        self.reload(namespace={"capacity": 0})
        self.vmm("other", pasids=500)
        self.assertNotIn("reserved PASIDs", self.notes())

    def test_the_level_of_the_log(self):
        self.reload(log={"level": "error"})
        before = self.daemon.log()
        self.write(log={"level": "error"}, quota={"set_max": 0})
        self.hang_up()
        self.assertTrue(eventually(lambda: "were not applied" in self.daemon.log()[len(before):]))
        self.write(log={"level": "info"})
        self.reload()

    # -- errors

    def test_an_error_changes_nothing_and_is_shown_until_a_good_one(self):
        self.write(text='{\n "quota": {\n  "set_max": 5,\n  "set_default": 5},\n "roles": {"vmms": {"users": ["nobody-at-all"]}}}')
        line = self.reload(expected="were not applied")
        where = f'{self.daemon.config}:5:31: roles.vmms.users[0]: found "nobody-at-all"'
        self.assertIn(where, line)
        self.assertIn(where, self.notes())
        self.assertEqual(len(self.vmm("one").allocate(count=6)), 6)
        self.write(text="{")
        self.assertIn("config.json:1:1", self.reload(expected="were not applied"))
        self.daemon.config.unlink()
        self.assertIn("No such file", self.reload(expected="were not applied"))
        self.assertNotIn("nobody-at-all", self.notes())
        self.reload(quota={"set_max": 5, "set_default": 5})
        self.assertNotIn("were not applied", self.notes())
        self.refused("set-quota", self.vmm("two").allocate, count=6)

    def test_a_drop_in_counts(self):
        drop_in = pathlib.Path(f"{self.daemon.config}.d")
        drop_in.mkdir()
        (drop_in / "1.json").write_text('{"quota": {"set_default": 2}}')
        self.assertIn("quota.set_default", self.reload())
        (drop_in / "2.json").write_text('{"quota": {"set_max": 1}}')
        self.assertIn(f"quota.set_max is set at {drop_in}/2.json:1:12", self.reload(expected="were not applied"))

    # -- what needs a restart

    def test_what_needs_a_restart_is_named_until_it_is_taken_back(self):
        other = {"path": str(self.daemon.folder / "other")}
        line = self.reload(
            socket=other, namespace={"reserved_last": 7, "policy": "lowest"}, expected="needs a restart",
            limits={"operations": {"host": 50}, "requests_per_datagram": 3},
        )
        keys = "socket.path, namespace.reserved_last, limits.operations.host, limits.requests_per_datagram"
        for key in keys.split(", "):
            self.assertIn(key, line)
            self.assertIn(key, self.notes())
        self.assertNotIn("namespace.policy", line)
        self.assertIn("namespace.policy", self.lines("settings applied: ")[-1])
        with self.daemon.admin() as admin:
            self.assertEqual(admin.status().reserved_last, 1023)
        self.reload()  # it is said again, though nothing has changed since
        self.assertIn("socket.path", self.notes())
        self.reload(quota={})
        self.assertNotIn("needs a restart", self.notes())
        self.assertNotIn("socket.path", self.notes())

    def test_settings_that_fit_only_after_a_restart_change_nothing(self):
        self.write(
            namespace={"reserved_last": 0},
            reservations=[{"name": "all", "user": 0, "pasids": 1048575}],
            roles={"admins": {"users": []}},
        )
        self.assertIn("restart pasidd", self.reload(expected="were not applied"))
        self.assertIn("restart pasidd", self.notes())  # an admin still is one
        self.reload(namespace={})

    # -- roles

    def test_who_loses_a_role_loses_the_connection_and_vmms_keep_their_sets(self):
        admin, observer = self.daemon.admin(), self.connect(role=pb.ROLE_OBSERVER)
        self.addCleanup(admin.close)
        vmm = self.vmm("one")
        self.reload(roles={"admins": {}, "vmms": {}, "observers": MINE})
        self.assertTrue(admin.closed())
        self.assertIn("1 sessions were ended", self.lines("were ended")[-1])
        self.refused("role-not-allowed", self.daemon.admin)
        self.refused("role-not-allowed", self.daemon.client)
        self.assertEqual(observer.status().sets, 1)
        self.assertEqual(len(vmm.allocate(count=2)), 2)
        vmm.close()  # and is no VMM any more when it comes back
        self.refused("role-not-allowed", self.connect, resume=vmm.welcome.resume_token)
        self.reload(roles={"admins": MINE, "vmms": MINE})
        with self.daemon.admin() as again:
            self.assertEqual(again.status().sets, 1)
        self.assertTrue(self.connect(resume=vmm.welcome.resume_token).welcome.resumed)

    # -- devices

    def test_a_device_is_shared_and_one_that_is_taken_out_keeps_its_slices(self):
        self.start({**CONFIG, "devices": [shared(SHARED)]})
        vmm = self.vmm("one")
        slice_ = vmm.call("device_slice", address=SHARED).device_slice
        vmm.map_memory(slice_.id)
        self.write(devices=[shared(OTHER)])
        self.hang_up()
        self.assertTrue(eventually(lambda: self.lines(f"shared device {OTHER} is served")), self.daemon.log())
        self.assertIn(SHARED, self.lines("is no shared one")[-1])
        vmm.call("device_slice", address=OTHER)
        (number,) = vmm.allocate()
        vmm.bind(host(number), slice_.id)
        self.assertIn((SHARED, number), self.daemon.tables())
        # the simulation opens what is not named
        self.write(devices=[shared(OTHER), shared(SHARED, users=[4242])])
        self.reload()
        self.refused("no-device", self.vmm("two").call, "device_slice", address=SHARED)

    def test_a_device_that_cannot_be_shared_is_told(self):
        self.write(devices=[shared("0000:00:1f.0")])
        self.hang_up()
        self.assertTrue(eventually(lambda: self.lines("Mend it, then share")), self.daemon.log())
        self.assertIn("0000:00:1f.0", self.lines("Mend it")[-1])

    # -- signals

    def reader(self):
        """The process that reads, stopped."""
        children = pathlib.Path(f"/proc/{self.daemon.process.pid}/task/{self.daemon.process.pid}/children")
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            self.hang_up()
            for _ in range(2000):
                for pid in children.read_text().split():
                    with contextlib.suppress(OSError):
                        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                        if b"--check-config" in command:
                            os.kill(int(pid), signal.SIGSTOP)
                            return int(pid)
        raise AssertionError("nobody reads")

    def test_whoever_reads_may_take_its_time_and_more_signals_have_it_read_once_more(self):
        reader = self.reader()
        vmm = self.vmm("one")
        self.assertEqual(len(vmm.allocate(count=5)), 5)  # nobody waits
        before = len(self.lines("settings applied"))
        self.write(quota={"set_default": 2})
        for _ in range(20):
            self.hang_up()
        time.sleep(0.1)
        self.assertEqual(len(self.lines("settings applied")), before)
        os.kill(reader, signal.SIGCONT)
        self.assertTrue(eventually(lambda: len(self.lines("settings applied")) >= before + 2), self.daemon.log())
        time.sleep(0.2)
        self.assertEqual(len(self.lines("settings applied")), before + 2)
        self.refused("set-quota", self.vmm("two").allocate, count=3)

    def test_the_end_of_whoever_reads_is_an_error(self):
        os.kill(self.reader(), signal.SIGKILL)
        self.assertTrue(eventually(lambda: self.lines("were not applied")), self.daemon.log())
        self.assertIn("Killed", self.notes())
        self.reload(quota={"set_default": 2})
        self.assertNotIn("Killed", self.notes())

    def test_a_stop_does_not_wait_for_it(self):
        reader = self.reader()
        begin = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertFalse(pathlib.Path(f"/proc/{reader}").exists())

    def test_a_daemon_that_is_killed_meanwhile_comes_back_with_the_new_settings(self):
        vmm = self.vmm("one")
        numbers = vmm.allocate(count=5)
        reader = self.reader()
        self.write(quota={"set_default": 2})
        self.daemon.process.kill()
        self.daemon.process.wait()
        os.kill(reader, signal.SIGCONT)
        gone = pathlib.Path(f"/proc/{reader}/cmdline")
        self.assertTrue(eventually(lambda: not gone.exists() or b"--check-config" not in gone.read_bytes()))
        self.daemon.start()
        self.refused("set-quota", self.vmm("two").allocate, count=3)
        with self.daemon.admin() as admin:
            self.assertEqual(admin.status().pasids.current, len(numbers))
            self.assertTrue(admin.status().consistent)

    def test_one_that_comes_while_the_daemon_starts_is_not_lost(self):
        self.assertEqual(self.daemon.stop(), 0)
        slow = {"devices": [shared(SHARED)], "simulate": {**CONFIG["simulate"], "latency_us": 300000}}
        self.daemon.cleanup()
        self.daemon = Daemon({**CONFIG, **slow}, start=False)
        self.addCleanup(self.daemon.cleanup)
        with open(self.daemon.log_path, "ab") as log:
            self.daemon.process = subprocess.Popen(self.daemon.command(), stderr=log)
        self.assertTrue(eventually(lambda: self.lines("settings: read")))
        self.assertFalse(self.lines("ready:"))
        self.write(slow, quota={"set_default": 2})
        self.hang_up()
        self.assertTrue(eventually(lambda: self.lines("settings applied: quota.set_default")), self.daemon.log())

    def test_the_service_manager_is_told(self):
        path = self.daemon.folder / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            path.chmod(0o666)
            notify.settimeout(TIMEOUT)
            self.hang_up()
            self.assertRegex(notify.recv(4096).decode(), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertEqual(notify.recv(4096), b"READY=1")
            self.write(text="{")
            self.hang_up()
            self.assertIn(b"RELOADING=1", notify.recv(4096))
            self.assertEqual(notify.recv(4096), b"READY=1")  # it serves, whatever was read

    def test_nothing_is_left_open(self):
        self.reload()
        before = self.daemon.open_files()
        for i in range(10):
            self.reload(quota={"set_default": i + 1})
        self.assertEqual(self.daemon.open_files(), before)


class Cgroups(unittest.TestCase):
    """A process matches what it matched when it connected; another rule in the same place is not that rule."""

    def test_a_rule_in_the_place_of_another_lets_nobody_in(self):
        own = [line[3:] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
        if not own or "/.." in own[0]:
            self.skipTest("there is no cgroup v2")
        everywhere = {"cgroups": [own[0]]}
        with Daemon({"roles": {"observers": everywhere}}) as daemon, daemon.client(role=pb.ROLE_OBSERVER) as observer:
            daemon.config.write_text(json.dumps({"roles": {"observers": {"cgroups": ["/else.slice"]}}}))
            daemon.process.send_signal(signal.SIGHUP)
            self.assertTrue(observer.closed())
            with self.assertRaises((Refused, Closed)):
                daemon.client(role=pb.ROLE_OBSERVER)
            daemon.config.write_text(json.dumps({"roles": {"observers": {"cgroups": ["/else.slice", own[0]]}}}))
            daemon.process.send_signal(signal.SIGHUP)
            self.assertTrue(eventually(lambda: daemon.log().count("settings applied") == 2))
            with daemon.client(role=pb.ROLE_OBSERVER) as again:
                daemon.config.write_text(json.dumps({"roles": {"observers": {"cgroups": [own[0], "/third.slice"]}}}))
                daemon.process.send_signal(signal.SIGHUP)
                self.assertTrue(eventually(lambda: daemon.log().count("settings applied") == 3))
                self.assertEqual(again.status().sets, 0)


if __name__ == "__main__":
    unittest.main()
