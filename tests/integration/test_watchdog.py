# SPDX-License-Identifier: MIT
"""The service manager hears that the loop turns, as long as it does and no longer."""

import signal
import time
import unittest

from manager import Manager
from pasid_client import Refused, host, pb

ONE = "0000:00:01.0"
CONFIG = {"simulate": {"devices": [{"address": ONE}]}}
WATCHDOG_S = 0.9  # a sign of life is due in each third of it


class Watchdog(unittest.TestCase):
    def start(self, **environment):
        manager = Manager(CONFIG, environment=environment)
        self.addCleanup(manager.cleanup)
        return manager

    def watched(self):
        return self.start(WATCHDOG_USEC=str(int(WATCHDOG_S * 1_000_000)))

    def signs(self, manager, seconds):
        """What comes from now on, with its longest silence."""
        begin = time.monotonic()
        time.sleep(seconds)
        manager.hear()
        times = [when for when in manager.fed if when >= begin]
        edges = [begin, *times, begin + seconds]
        return len(times), max(b - a for a, b in zip(edges, edges[1:]))

    def test_an_idle_daemon_is_heard_in_time(self):
        count, silence = self.signs(self.watched(), 3)
        self.assertGreaterEqual(count, 4)
        self.assertLess(silence, WATCHDOG_S)

    def test_a_busy_one_is_and_says_no_more_than_that(self):
        manager = self.watched()
        begin = time.monotonic()
        with manager.client() as vm:
            vm.create("vm")
            while time.monotonic() < begin + 2:
                vm.call("ping")
        manager.hear()
        times = [when for when in manager.fed if begin <= when <= begin + 2]
        self.assertIn(len(times), range(3, 9))

    def test_a_worker_that_hangs_is_no_reason_for_silence(self):
        manager = self.watched()
        with manager.client() as vm:
            vm.create("vm")
            number = vm.allocate()[0]
            device = vm.add(manager, ONE).id
            vm.map_memory(device)
            manager.sim("hang", ONE, "60000")
            with self.assertRaises(Refused) as caught:
                vm.bind(host(number), device, deadline_ms=50)
            self.assertEqual(caught.exception.code, pb.PENDING)
            count, silence = self.signs(manager, 2)
            self.assertGreaterEqual(count, 3)
            self.assertLess(silence, WATCHDOG_S)
            manager.sim("clear")

    def test_a_daemon_that_stands_still_is_silent(self):
        manager = self.watched()
        manager.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        manager.hear()
        self.assertEqual(self.signs(manager, 2 * WATCHDOG_S)[0], 0)
        manager.process.send_signal(signal.SIGCONT)
        self.assertGreaterEqual(self.signs(manager, 2 * WATCHDOG_S)[0], 2)

    def test_nobody_is_told_who_did_not_ask(self):
        for environment in ({}, {"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"}):
            self.assertEqual(self.signs(self.start(**environment), 1)[0], 0)


if __name__ == "__main__":
    unittest.main()
