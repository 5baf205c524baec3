# SPDX-License-Identifier: MIT
"""SIGKILL at random moments under load: what was acknowledged is there, what was not is done once when asked again."""

import os
import random
import threading
import time
import unittest

from machine import Machine, told
from manager import Manager
from pasid_client import Closed, host, pb
from restarts import ONE, QUICK, SHARED, TWO

# The lowest number that is free, and free soon: one that is granted twice is not long in coming.
CONFIG = {
    "namespace": {"policy": "lowest"},
    "quarantine": {"cooling_ms": 1},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address} for address in (ONE, TWO, SHARED)]},
}
KILLS = (20 if QUICK else 60) * int(os.environ.get("PASIDD_TEST_ROUNDS", "1"))
LONGEST = 0.12  # seconds of load before a kill
MANY = 1500  # in one request, now and then
GONE = (Closed, ConnectionError)


class LongMachine(Machine):
    """One that also asks for what is many records, and so a while under way."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        started = time.monotonic()
        self.ask(self.choose_long())
        self.long = time.monotonic() - started  # seconds
        request = self.choose_long()
        self.about_to(request)
        self.ask(request)

    def choose_long(self):
        idle = [number for number, grant in self.grants.items() if not grant.devices]
        if len(idle) < MANY:
            return self.client.request("allocate", count=MANY, data=self.chance.getrandbits(64))
        return self.client.request("free", pasids=[host(number) for number in idle[:2 * MANY]])

    def work(self, kill_at, kill):
        """Until the daemon is gone; from a time on, it is killed while it has a request of ours."""

        def kill_soon():
            time.sleep(self.chance.uniform(0, self.long))
            kill()

        try:
            while True:
                last = time.monotonic() > kill_at
                self.unanswered = self.choose_long() if last else self.choose()
                self.about_to(self.unanswered)
                self.ask(self.unanswered, kill_soon if last else None)
        except GONE:
            pass


class CrashPoints(unittest.TestCase):
    def setUp(self):
        self.daemon = Manager(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.chance = random.Random(20)
        owners = {}
        self.machines = [
            LongMachine(self.daemon, name, address, seed, owners)
            for name, address, seed in (("vm1", ONE, 1), ("vm2", TWO, 2))
        ]
        self.addCleanup(lambda: [machine.client.close() for machine in self.machines])
        self.lost = self.done = 0

    def load_and_kill(self):
        """One of them kills it when the time has come, the other one may be anywhere."""
        kill_at = time.monotonic() + self.chance.uniform(0.005, LONGEST)
        killer = self.chance.choice(self.machines)
        threads = [
            threading.Thread(
                target=machine.work, args=(kill_at if machine is killer else float("inf"), self.daemon.process.kill)
            )
            for machine in self.machines
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.daemon.kill_daemon()

    def told(self, admin):
        """{set: {number: record}} as the daemon says."""
        grants = {machine.set: [] for machine in self.machines}
        for info in admin.pages("grant_list", "grants"):
            grants[info.set].append(info)
        return {each: told(infos) for each, infos in grants.items()}

    def compare(self, admin):
        """After the answers the daemon, the tables and the machines agree to the bit."""
        found = self.told(admin)
        for machine in self.machines:
            self.assertEqual(found[machine.set], machine.records())
        entries = set().union(*(machine.entries() for machine in self.machines))
        bindings = admin.pages("binding_list", "bindings")
        self.assertEqual({binding.state for binding in bindings} - {pb.BINDING_BOUND}, set())
        self.assertEqual({(binding.address, binding.host_pasid) for binding in bindings}, entries)
        self.assertEqual(set(self.daemon.tables()), entries)
        self.assertTrue(admin.status().consistent)

    # F40
    def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(self):
        for _ in range(KILLS):
            self.load_and_kill()
            self.daemon.start()
            with self.daemon.admin() as admin:
                found = self.told(admin)
                for machine in self.machines:
                    lost, fresh = machine.compare(found[machine.set])
                    self.lost += lost
                    machine.come_back()
                    reply = machine.ask(machine.unanswered)
                    if fresh:  # it was done: then the answer is the one that it had
                        self.done += 1
                        self.assertEqual(set(machine.took(reply)), fresh)
                self.compare(admin)
        acknowledged = sum(machine.acknowledged for machine in self.machines)
        doubles = sum(machine.doubles for machine in self.machines)
        undone = self.daemon.log().count("had not finished was taken back")
        print(
            f"kills={KILLS} acknowledged={acknowledged} lost={self.lost} double={doubles};",
            f"{undone} changes taken back, {self.done} allocations done and not answered",
        )
        self.assertEqual((self.lost, doubles), (0, 0))
        self.assertGreater(acknowledged, 10 * KILLS)
        for machine in self.machines:
            machine.client.call("set_destroy", force=True)
        self.assertEqual(self.daemon.tables(), {})


if __name__ == "__main__":
    unittest.main()
