# SPDX-License-Identifier: MIT
"""Every attack of the package `hostile`, one after the other, and what the daemon is like after each.

PASIDD_HOSTILE_SECONDS is how long each attack lasts; PASIDD_HOSTILE_SEED repeats a run.
"""

import collections
import os
import random
import unittest

from hostile import ATTACKS, run
from hostile.field import Field, attacker_user
from hostile.judge import Judge

SECONDS = float(os.environ.get("PASIDD_HOSTILE_SECONDS", "0.3"))
SEED = os.environ.get("PASIDD_HOSTILE_SEED") or str(random.SystemRandom().getrandbits(32))
SETTLE = 20.0
# That an honest request may take on any machine under any load; scripts/hostile measures in earnest.
SLOWEST = 2.0


class Besieged(unittest.TestCase):
    """A daemon with two honest clients, and a judge."""

    @classmethod
    def setUpClass(cls):
        cls.field = Field(machines=2, uid=attacker_user())
        cls.addClassCleanup(cls.field.cleanup)
        cls.addClassCleanup(cls.field.stop_honest)
        cls.judge = Judge(cls.field.daemon)
        cls.addClassCleanup(cls.judge.close)
        cls.judge.remember()

    def setUp(self):
        self.assertIsNone(self.field.daemon.process.poll(), "pasidd has ended before")

    def assert_honest_served(self):
        self.assertEqual(self.field.standing(), [], "an honest binding is gone")
        for one in self.field.honest:
            one.listen()
            self.assertEqual((one.failure, one.refusals), (None, []))
            self.assertLess(max((seconds for _, _, seconds in one.samples), default=0), SLOWEST)


class Attacks(Besieged):
    def check(self, name):
        for one in self.field.honest:
            one.listen()
            one.samples.clear()
        report = run(name, self.field.place, f"{SEED}/{name}", SECONDS)
        if "failure" in report:
            self.fail(f"PASIDD_HOSTILE_SEED={SEED}: {report['failure']}\n{self.field.log()}")
        self.assertTrue(report["counts"], "it did nothing")
        found, _ = self.judge.settle(SETTLE)
        self.assertEqual(found, [], f"PASIDD_HOSTILE_SEED={SEED}")
        self.assert_honest_served()


class Scarce(Besieged):
    """The same, where the daemon has hardly any descriptor left."""

    def test_without_descriptors(self):
        daemon, told = self.field.daemon, collections.Counter()
        daemon.limit_files(daemon.open_files() + 6)
        self.addCleanup(daemon.limit_files, 1 << 14)
        for name in ("descriptors-in-masses", "lost-descriptors", "crowd", "connect-storm"):
            report = run(name, self.field.place, f"{SEED}/scarce/{name}", SECONDS)
            told.update(report["reasons"])
        self.assertGreater(told["descriptors-truncated"], 0, told)
        daemon.limit_files(1 << 14)
        self.assertEqual(self.judge.settle(SETTLE)[0], [])
        self.assert_honest_served()
        self.assertNotIn("failure", run("newcomers", self.field.place, f"{SEED}/scarce", SECONDS))


def add_tests():
    for name in ATTACKS:
        setattr(Attacks, "test_" + name.replace("-", "_"), lambda self, name=name: self.check(name))


add_tests()

if __name__ == "__main__":
    unittest.main()
