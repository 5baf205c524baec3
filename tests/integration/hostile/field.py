# SPDX-License-Identifier: MIT
"""The host on which it happens: a simulated IOMMU, a daemon with short times, and who may use what."""

import contextlib
import os

from pasid_client import Daemon, Refused, daemon_user, set_ref

from .attack import Place
from .honest import Honest, Machine, Newcomer
from .judge import ENVIRONMENT

NOBODY = 65534
# Unit 0 is the honest ones', 1 has a shared device that everybody has slices of, 2 is the attackers'.
OWN = [f"0000:00:{i:02x}.0" for i in range(1, 17)]
QUIET = "0000:00:1f.0"  # shared, among the honest only
SHARED = "0000:01:00.0"
ATTACKED = [f"0000:02:{i:02x}.0" for i in range(1, 5)]
HELLO_MS = 500


def config(user):
    mine = {"users": [user]}
    return {
        "quarantine": {"cooling_ms": 100},
        # Numbers that come back soon touch less of what is kept for each number: memory says more about leaks.
        "namespace": {"policy": "lowest"},
        "session": {"grace_ms": 200, "hello_ms": HELLO_MS, "stalled_ms": 300},
        "devices": [
            {"address": SHARED, "use": "shared", "everyone": True},
            {"address": QUIET, "use": "shared", **mine},
            *({"address": address, "use": "exclusive", **mine} for address in OWN),
            *({"address": address, "use": "exclusive", "everyone": True} for address in ATTACKED),
        ],
        "simulate": {
            "devices": [
                *({"address": address} for address in (*OWN, QUIET)),
                {"address": SHARED, "unit": 1},
                *({"address": address, "unit": 2} for address in ATTACKED),
            ]
        },
    }


def attacker_user():
    """Who has nothing to do with the daemon's user and the honest; None where that is not possible."""
    if os.geteuid() != 0:
        return None
    return NOBODY if daemon_user()[0] != NOBODY else NOBODY - 1


class Hands:
    """Sets of an admin for which connections are made, to be handed to whoever asks."""

    def __init__(self, daemon, count=4):
        self.admin = daemon.admin()
        self.sets = [self.admin.create(f"handed-{i}", pasids=100).id for i in range(count)]

    def take(self):
        """The descriptor, which is the caller's; None when every set has its connection."""
        for key in self.sets:
            request = self.admin.request("set_connect", set=set_ref(key))
            self.admin.send(request)
            with contextlib.suppress(Refused):
                self.admin.result(request.id)
                return self.admin.fds.pop(request.id)[0]
        return None


class Field:
    """A daemon with honest clients, and a place for attackers."""

    def __init__(self, machines, uid, changes=None):
        self.daemon = Daemon({**config(os.geteuid()), **(changes or {})}, environment=ENVIRONMENT)
        self.machines, self.newcomers, self.neighbours, self.hands = [], [], [], None
        try:
            self.open_to_all()
            for i in range(machines):
                self.machines.append(self.machine(f"honest-{i + 1}", *(OWN[i], False) if i % 4 != 3 else (QUIET, True)))
            self.hands = Hands(self.daemon)
            self.place = self.make_place(uid)
        except BaseException:
            self.cleanup()
            raise

    def open_to_all(self):
        """What a host's rules do: some nodes belong to the attackers' user too."""
        daemon = self.daemon
        for folder in (daemon.folder, daemon.simulation, daemon.simulation / "devices"):
            folder.chmod(0o755)
        for node in ("iommu", *(f"devices/{address}" for address in ATTACKED)):
            (daemon.simulation / node).chmod(0o666)

    def machine(self, name, address, shared):
        return Honest(lambda: Machine(self.daemon, name, address, shared))

    def add_neighbour(self):
        """An honest one that shares a device, its worker process and its IOMMU unit with the attackers."""
        self.neighbours.append(self.machine("neighbour", SHARED, True))

    def add_newcomer(self):
        self.newcomers.append(Honest(lambda: Newcomer(self.daemon, "newcomer")))

    def stop_newcomers(self):
        """Their sessions come and go, and would make it hard to say how many there are."""
        for one in self.newcomers:
            one.stop()

    @property
    def honest(self):
        return [*self.machines, *self.newcomers, *self.neighbours]

    def make_place(self, uid):
        about = [one.about for one in self.machines]
        return Place(
            socket=str(self.daemon.socket), simulation=str(self.daemon.simulation), devices=ATTACKED, shared=SHARED,
            uid=uid, hello_ms=HELLO_MS, hands=self.hands,
            foreign={what + "s": [one[what] for one in about] for what in ("set", "name", "device", "pasid")},
        )

    def standing(self):
        """What honest machines have bound all the time, and does not stand in the tables any more."""
        tables = self.daemon.tables()
        kept = [(one.about["address"], one.about["pasid"]) for one in (*self.machines, *self.neighbours)]
        return [entry for entry in kept if entry not in tables]

    def log(self):
        """What the daemon wrote at last, but not who came and went."""
        lines = [line for line in self.daemon.log().splitlines() if "[operation=set-" not in line]
        return "\n".join(lines[-20:])

    def stop_honest(self):
        for one in self.honest:
            one.stop()

    def cleanup(self):
        if self.hands is not None:
            self.hands.admin.close()
        self.daemon.cleanup()
