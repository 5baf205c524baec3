# SPDX-License-Identifier: MIT
"""The simulated IOMMU as a product (F47): pasid-sim shows what stands in it, walks it and breaks it under a daemon."""

import json
import subprocess
import tempfile
import time
import unittest

from pasid_client import PASID_SIM, Daemon, Refused, host, pb

ONE, TWO, FAR = "0000:00:01.0", "0000:00:02.0", "0000:00:03.0"
CONFIG = {
    "simulate": {
        "devices": [{"address": ONE}, {"address": TWO}, {"address": FAR, "unit": 1}],
    }
}


def run(*arguments):
    """Exit status, standard output and standard error of the tool."""
    done = subprocess.run([str(PASID_SIM), *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class OnItsOwn(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pasid-sim-")
        self.addCleanup(folder.cleanup)
        self.folder = f"{folder.name}/iommu"

    def test_what_was_made_can_be_looked_at(self):
        self.assertEqual(run(self.folder, "create", "--device", ONE, "--device", f"{TWO},width=8,group=7")[0], 0)
        status, text, _ = run(self.folder, "tables")
        self.assertEqual(status, 0)
        self.assertIn("PASID", text)
        self.assertEqual(json.loads(run(self.folder, "tables", "--json")[1]), [])

    def test_a_dma_through_an_empty_table_is_blocked(self):
        run(self.folder, "create", "--device", ONE)
        self.assertEqual(run(self.folder, "walk", ONE, "5", "0x1000")[0], 3)
        self.assertEqual(run(self.folder, "walk", ONE, "0x1000")[0], 3)

    def test_wrong_usage_is_told_from_failure(self):
        for words in ((), (self.folder,), (self.folder, "dance")):
            status, _, complaint = run(*words)
            self.assertEqual((words, status), (words, 2))
            self.assertTrue(complaint)
        status, _, complaint = run(self.folder, "tables")
        self.assertEqual(status, 1)
        self.assertIn(self.folder, complaint)
        run(self.folder, "create", "--device", ONE)
        self.assertEqual(run(self.folder, "walk")[0], 2)

    def test_bad_devices_and_errors_are_refused_and_nothing_is_made(self):
        for device in ("nonsense", f"{ONE},width=21", f"{ONE},colour=red", "0000:00:20.0"):
            self.assertNotEqual(run(self.folder, "create", "--device", device)[0], 0, device)
            self.assertEqual(run(self.folder, "tables")[0], 1)
        run(self.folder, "create", "--device", ONE)
        self.assertEqual(run(self.folder, "fail", "dance", "EIO")[0], 2)
        for error in ("ENONSENSE", "0", "4096", "5x", ""):
            code, _, said = run(self.folder, "fail", "attach", error)
            self.assertEqual(code, 2)
            self.assertIn(f"'{error}' is no error: a name such as EIO, or a number from 1 to 4095", said)

    def test_each_command_says_what_it_wants(self):
        run(self.folder, "create", "--device", ONE)
        for words in (("fail", "attach"), ("hang", ONE), ("reset", ONE), ("unplug",), ("plug",), ("latency",),
                      ("clear", "now"), ("walk", ONE, "--no-nesting", "0x1000"), ("tables", "--colour"),
                      ("hang", ONE, "soon"), ("latency", "5", "--call", "dance"), ("unplug", "nowhere"),
                      ("plug", "nowhere")):
            status, _, complaint = run(self.folder, *words)
            self.assertEqual((words, status), (words, 2))
            self.assertTrue(complaint)
        self.assertEqual(run(self.folder, "tables")[0], 0)

    def test_an_iommu_is_made_as_it_is_described(self):
        status, _, complaint = run(self.folder, "create", "--device", f"{ONE},unit=1,width=16", "--no-nesting",
                                   "--no-first-stage", "--five-level", "--iommu-width", "16", "--latency", "10",
                                   "--pages", "4096")
        self.assertEqual((status, complaint), (0, ""))
        self.assertEqual(run(self.folder, "tables")[0], 0)
        for words in (("--iommu-width", "21"), ("--latency", "never"), ("--pages", "64"), ("now",)):
            status, _, complaint = run(f"{self.folder}-other", "create", "--device", ONE, *words)
            self.assertEqual((words, status), (words, 2))
            self.assertTrue(complaint)
        self.assertEqual(run(f"{self.folder}-other", "tables")[0], 1)

    def test_help_has_examples(self):
        status, text, _ = run("--help")
        self.assertEqual(status, 0)
        self.assertIn("Examples:", text)


class UnderADaemon(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.vm = self.connect("vm")
        self.number = self.vm.allocate()[0]
        self.one, self.two, self.far = (self.device(self.vm, rid) for rid in (ONE, TWO, FAR))

    def connect(self, name):
        client = self.daemon.client()
        self.addCleanup(client.close)
        client.create(name)
        return client

    def device(self, client, address):
        device = client.add(self.daemon, address).id
        self.inode = client.map_memory(device)
        return device

    # F47
    def test_a_walk_says_what_a_dma_would_reach(self):
        self.vm.bind(host(self.number), self.far)
        status, text, _ = run(self.daemon.simulation, "walk", FAR, self.number, "0x2008", "--json")
        self.assertEqual(status, 0, text)
        self.assertIn(str(self.inode), text)
        self.assertEqual(run(self.daemon.simulation, "walk", FAR, self.number, "0x100000")[0], 3)
        self.assertEqual(run(self.daemon.simulation, "walk", FAR, self.number + 1, "0x2008")[0], 3)
        self.assertEqual(run(self.daemon.simulation, "walk", ONE, self.number, "0x2008")[0], 3)

    def test_what_stands_is_shown_to_people_too(self):
        self.vm.bind(host(self.number), self.far)
        status, text, _ = run(self.daemon.simulation, "tables")
        self.assertEqual(status, 0)
        (line,) = [line for line in text.splitlines() if line.startswith(FAR)]
        self.assertEqual(line.split()[2:4], ["1", str(self.number)])
        status, text, _ = run(self.daemon.simulation, "walk", FAR, self.number, "0x2008", "--write")
        self.assertEqual(status, 0, text)
        self.assertIn("writeable", text)
        self.assertIn(f"inode {self.inode}", text)

    def test_failures_may_be_skipped_and_repeated(self):
        self.daemon.sim("fail", "attach", "EIO", "--rid", TWO, "--skip", "1", "--times", "2")
        self.vm.bind(host(self.number), self.two)
        numbers = self.vm.allocate(count=3)
        for number in numbers[:2]:
            with self.assertRaises(Refused):
                self.vm.bind(host(number), self.two)
        self.vm.bind(host(numbers[2]), self.two)
        self.assertEqual(set(self.daemon.tables()), {(TWO, self.number), (TWO, numbers[2])})

    def test_an_arranged_failure_happens_once_and_where_it_was_said(self):
        self.daemon.sim("fail", "attach", "EIO", "--rid", TWO)
        with self.assertRaises(Refused) as caught:
            self.vm.bind(host(self.number), self.one, self.two)
        self.assertEqual(caught.exception.status.sys_errno, 5)
        self.assertEqual(self.daemon.tables(), {})
        self.vm.bind(host(self.number), self.one, self.two)
        self.assertEqual(set(self.daemon.tables()), {(ONE, self.number), (TWO, self.number)})

    # F41
    def test_a_hang_delays_its_unit_and_nothing_that_needs_no_hardware(self):
        other = self.connect("other")
        device = self.vm_on_far(other)
        number = other.allocate()[0]
        self.daemon.sim("hang", ONE, "60000", "--unit")
        with self.assertRaises(Refused) as caught:
            self.vm.bind(host(self.number), self.one, deadline_ms=50)
        self.assertEqual(caught.exception.code, pb.PENDING)
        started = time.monotonic()
        self.vm.allocate()
        other.bind(host(number), device)
        self.assertLess(time.monotonic() - started, 30)
        self.assertIn((FAR, number), self.daemon.tables())
        self.daemon.sim("clear")

    def test_a_hang_is_named_in_the_status_until_it_ends(self):
        self.daemon.sim("hang", ONE, "60000")
        with self.assertRaises(Refused) as caught:
            self.vm.bind(host(self.number), self.one, deadline_ms=1500)
        self.assertEqual(caught.exception.code, pb.PENDING)
        with self.daemon.admin() as admin:
            (note,) = [note for note in admin.call("get_status").get_status.notes if "hangs" in note]
            self.assertIn(ONE, note)
            self.assertIn("an attach", note)
            self.assertTrue(any(str(worker) in note for worker in self.daemon.workers()), note)
            self.daemon.sim("clear")
            self.vm.unbind(host(self.number))
            notes = admin.call("get_status").get_status.notes
            self.assertFalse([note for note in notes if "hangs" in note], notes)

    def test_a_hang_keeps_no_restart(self):
        self.daemon.sim("hang", ONE, "60000")
        with self.assertRaises(Refused):
            self.vm.bind(host(self.number), self.one, deadline_ms=50)
        started = time.monotonic()
        self.daemon.process.terminate()
        self.daemon.process.wait(20)
        self.assertLess(time.monotonic() - started, 2)
        self.daemon.sim("clear")

    def vm_on_far(self, client):
        self.vm.call("device_remove", device=self.far)
        return self.device(client, FAR)

    # F38
    def test_trap_17_an_attach_waits_for_the_end_of_a_reset(self):
        self.vm.bind(host(self.number), self.one)
        second = self.vm.allocate()[0]
        other = self.connect("other")
        self.daemon.sim("reset", ONE, "700")
        started = time.monotonic()
        pair = pb.BindPair(device=self.one, table=pb.Table(space=1))
        bind = self.vm.request("bind", pasid=host(second), pairs=[pair])
        self.vm.send(bind)
        other.allocate()
        self.assertLess(time.monotonic() - started, 0.6, "a reset of one VM's device is no concern of another's")
        self.vm.result(bind.id)
        self.assertGreater(time.monotonic() - started, 0.6)
        self.assertEqual(set(self.daemon.tables()), {(ONE, self.number), (ONE, second)})

    def test_trap_17_an_attach_during_a_reset_says_so_before_its_deadline(self):
        self.vm.bind(host(self.number), self.one)
        self.daemon.sim("reset", ONE, "60000")
        second = self.vm.allocate()[0]
        started = time.monotonic()
        with self.assertRaises(Refused) as caught:
            self.vm.bind(host(second), self.one, deadline_ms=2000)
        self.assertEqual(caught.exception.reason, "reset-running")
        self.assertGreater(time.monotonic() - started, 1.5)
        self.daemon.sim("clear")
        self.assertEqual(set(self.daemon.tables()), {(ONE, self.number)})
        self.vm.bind(host(second), self.one)


if __name__ == "__main__":
    unittest.main()
