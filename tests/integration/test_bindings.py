# SPDX-License-Identifier: MIT
"""The Python client of bindings/python: the demo's story through it, restarts, time, and what VMMs are started with.

The daemon comes from the fixtures; what speaks to it here is the package, as it is built for users.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from manager import Manager
from pasid_client import BUILD, TIMEOUT, TOP, Daemon, Vmm, eventually
from python_package import BUILT, PYTHON, pasid

pb = pasid.pb
ONE, TWO, SHARED = (f"0000:00:0{i}.0" for i in (1, 2, 3))
CONFIG = {
    "quarantine": {"cooling_ms": 200},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": address} for address in (ONE, TWO, SHARED)]},
}
MEMORY = 1 << 16
GUEST = pasid.Guest(5)
NOBODYS = 900000


@contextlib.contextmanager
def memory():
    fd = os.memfd_create("guest memory", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, MEMORY)
        yield fd
    finally:
        os.close(fd)


def give_memory(client, *devices):
    with memory() as fd:
        for device in devices:
            client.memory_map(device, fd, MEMORY, space=1)


def set_up(daemon, client, name, address):
    """A set, an exclusive device and a slice, and guest PASID 5 bound on both: the devices and the host PASID."""
    client.set_create(name)
    with daemon.open_iommu() as iommufd, daemon.open_device(address) as device:
        own = client.device_add(iommufd, device).id
    part = client.device_slice(SHARED).id
    give_memory(client, own, part)
    (number,) = client.allocate(guest=GUEST.number, devices=[own, part])
    client.bind(GUEST, {own: pasid.space(1), part: pasid.space(1)})
    return own, part, number


class Case(unittest.TestCase):
    def begin(self, daemon=Daemon, **config):
        self.daemon = daemon({**CONFIG, **config})
        self.addCleanup(self.daemon.cleanup)

    def connect(self, **options):
        client = pasid.Client(str(self.daemon.socket), **{"timeout": TIMEOUT, **options})
        self.addCleanup(client.close)
        return client

    def admin(self):
        return self.connect(role=pb.ROLE_ADMIN)

    def refused(self, reason, call, *arguments, **fields):
        with self.assertRaises(pasid.Refused) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.reason, reason)
        return caught.exception

    @staticmethod
    def steal(client):
        """The next datagram for this client never reaches it."""
        with socket.socket(fileno=os.dup(client.fileno())) as copy:
            copy.settimeout(TIMEOUT)
            return copy.recv(65536)

    @staticmethod
    def until(watch, kind, times=1):
        """The events up to the one of this kind, or the so manieth."""
        seen = []
        while [event.kind for event in seen].count(kind) < times:
            event = watch.next(TIMEOUT)
            assert event is not None, f"{pb.EventKind.Name(kind)} does not come"
            seen.append(event)
        return seen


class Story(Case):
    def test_the_demo_with_a_restart_in_its_middle(self):
        self.begin(Manager)
        admin = self.admin()
        events = admin.watch()
        vm1 = Vmm(self.daemon, lambda client: set_up(self.daemon, client, "vm1", ONE), self.connect)
        self.addCleanup(vm1.kill)
        vm2 = self.connect(name="vm2")
        own, part, number = set_up(self.daemon, vm2, "vm2", TWO)
        foreign = vm1.result[2]
        self.assertNotEqual(number, foreign)
        entries = {(ONE, foreign), (SHARED, foreign), (TWO, number), (SHARED, number)}
        self.assertEqual(set(self.daemon.tables()), entries)
        self.assertEqual({found.host_pasid for found in admin.grants()}, {number, foreign})

        # What is another's is refused as what is nobody's: code, reason, and words but for the number.
        for call in (lambda pasid_: vm2.bind(pasid_, {own: pasid.space(1)}), vm2.unbind, vm2.free, vm2.host_find):
            theirs = self.refused("no-pasid", call, foreign)
            nobodys = self.refused("no-pasid", call, NOBODYS)
            self.assertEqual(theirs.code, pasid.Code.NOT_FOUND)
            self.assertEqual(theirs.message.replace(str(foreign), "n"), nobodys.message.replace(str(NOBODYS), "n"))
        self.refused("no-device", vm2.device_remove, vm1.result[0])

        # The daemon is killed: one change was done and its reply lost, another one never reached it.
        self.daemon.process.send_signal(signal.SIGSTOP)
        done = vm2.start("allocate", guest_pasid=6)
        vm2.process()
        self.daemon.process.send_signal(signal.SIGCONT)
        self.steal(vm2)
        self.daemon.process.send_signal(signal.SIGSTOP)
        unseen = vm2.start("allocate", guest_pasid=7)
        vm2.process()
        instance = vm2.session.instance
        self.daemon.restart(kill=True)
        more = [call.result().allocate.runs[0].first for call in (done, unseen)]
        self.assertTrue(vm2.session.resumed)
        self.assertNotEqual(vm2.session.instance, instance)
        mine = {grant.host_pasid: grant.guest_pasid for grant in vm2.grants()}
        self.assertEqual(mine, {number: 5, more[0]: 6, more[1]: 7})
        self.assertEqual(set(self.daemon.tables()), entries)
        vm2.unbind(GUEST, part)
        self.assertEqual(set(self.daemon.tables()), entries - {(SHARED, number)})

        vm1.kill()
        seen = self.until(events, pb.EVENT_SET_DESTROYED)
        self.assertEqual(set(self.daemon.tables()), {(TWO, number)})
        rests = admin.host_find(foreign)
        self.assertEqual((rests.state, "undrained" in rests.quarantine), (pb.GRANT_QUARANTINED, True))
        self.refused("no-pasid", vm2.free, foreign)
        kinds = [event.kind for event in seen]
        self.assertEqual([kinds.count(kind) for kind in (pb.EVENT_SET_CREATED, pb.EVENT_BINDING_BOUND)], [2, 4])
        allocated = [event.host_pasid for event in seen if event.kind == pb.EVENT_GRANT_ALLOCATED]
        told = [event.sequence for event in seen]
        self.assertEqual(told, sorted(set(told)))
        # What the killed daemon had told nobody may be lost, and then says so; nothing is told twice.
        self.assertEqual(len(allocated), len(set(allocated)))
        if pb.EVENT_UNSPECIFIED not in kinds:
            self.assertEqual(sorted(allocated), sorted([number, foreign, *more]))
        self.assertTrue(admin.status().consistent)

    def test_a_bind_under_way_is_done_once(self):
        self.begin(Manager)
        vm = self.connect()
        vm.set_create("vm")
        with self.daemon.open_iommu() as iommufd, self.daemon.open_device(ONE) as device:
            one = vm.device_add(iommufd, device).id
        give_memory(vm, one)
        (number,) = vm.allocate()
        self.daemon.sim("hang", ONE, "400")
        pairs = [pb.BindPair(device=one, table=pasid.space(1))]
        call = vm.start("bind", pasid=pb.PasidRef(host=number), pairs=pairs)
        vm.process()
        time.sleep(0.1)
        self.daemon.restart(kill=True)
        self.assertEqual(call.result().bind.host_pasid, number)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        self.assertEqual(len(list(vm.bindings())), 1)
        self.refused("already-bound", vm.bind, number, {one: pasid.space(1)})

    def test_descriptors_are_sent_again_after_their_owner_closed_them(self):
        self.begin(Manager)
        vm = self.connect()
        vm.set_create("vm")
        self.daemon.process.send_signal(signal.SIGSTOP)
        with self.daemon.open_iommu() as iommufd, self.daemon.open_device(ONE) as device:
            call = vm.start("device_add", fds=(iommufd, device))
            vm.process()
        self.daemon.restart(kill=True)
        self.assertEqual(call.result().device_add.address, ONE)
        self.assertEqual(call.sending, [])

    def test_a_stop_while_calls_are_made(self):
        self.begin(Manager)
        vm = self.connect()
        vm.set_create("vm")
        for _ in range(2):
            calls = [vm.start("allocate") for _ in range(10)]
            vm.process()
            self.daemon.restart()
            calls += [vm.start("allocate") for _ in range(10)]
            self.assertEqual(len({call.result().allocate.runs[0].first for call in calls}), 20)
        self.assertEqual(vm.set_get().pasids.current, 40)

    def test_a_session_that_is_gone_ends_its_client(self):
        self.begin(session={"grace_ms": 300})
        vm = self.connect()
        vm.set_create("vm")
        with vm.watch() as watch:
            self.daemon.stop()
            start = time.monotonic()
            with self.assertRaises(pasid.NotConnected):
                vm.allocate()
            self.assertLess(time.monotonic() - start, TIMEOUT / 2)
            with self.assertRaises(pasid.NotConnected):
                watch.next(1)
        self.daemon.start()
        with self.assertRaises(pasid.NotConnected):
            vm.status()


class Calls(Case):
    def setUp(self):
        self.begin()

    def test_a_refusal_says_all_of_it(self):
        vm = self.connect()
        vm.set_create("vm", quota=2)
        vm.allocate()
        error = self.refused("set-quota", vm.allocate, 2)
        self.assertEqual((error.code, error.limit, error.used), (pasid.Code.QUOTA, 2, 1))
        self.assertIn("(set-quota)", str(error))
        self.assertIsInstance(error, pasid.PasidError)
        self.assertEqual(dict(pb.Code.items()), {code.name: code.value for code in pasid.Code})
        with self.assertRaises(pasid.Refused) as caught:
            pasid.Client(str(self.daemon.socket), features=["teleport"])
        self.assertEqual(caught.exception.reason, "feature-not-supported")

    def test_no_daemon(self):
        with self.assertRaises(pasid.NotConnected) as caught:
            pasid.Client(str(self.daemon.folder / "nothing"))
        self.assertIn("nothing", str(caught.exception))
        self.assertIsInstance(caught.exception, ConnectionError)

    def test_what_is_started_in_one_go_travels_together_and_in_its_order(self):
        vm = self.connect()
        vm.set_create("vm", quota=1000)
        with vm.watch(kinds=[pb.EVENT_GRANT_FREE_PENDING]) as watch:
            calls = [vm.start("allocate", guest_pasid=number) for number in range(1, 700)]
            calls += [vm.start("free", all=True)]
            self.assertEqual(calls[-1].result().free.freed, 699)
            self.assertTrue(all(call.done for call in calls))
            self.until(watch, pb.EVENT_GRANT_FREE_PENDING, 699)

    def test_time(self):
        vm = self.connect()
        _, part, number = set_up(self.daemon, vm, "vm", ONE)
        self.daemon.sim("hang", SHARED, "600")
        with self.assertRaises(pasid.Pending) as caught:
            vm.unbind(GUEST, part, timeout=0.1)
        self.assertEqual((caught.exception.code, caught.exception.reason), (pasid.Code.PENDING, "deadline-passed"))
        with self.assertRaises(pasid.Pending):
            caught.exception.call.result(0)
        self.assertEqual(len(vm.allocate()), 1)
        caught.exception.call.result()
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})

    def test_what_ended_pending_does_not_hold_up_others(self):
        vm = self.connect()
        _, part, _ = set_up(self.daemon, vm, "vm", ONE)
        self.daemon.sim("hang", SHARED, "2000")
        with self.assertRaises(pasid.Pending) as caught:
            vm.unbind(GUEST, part, timeout=0)
        for call in [vm.start("ping") for _ in range(600)]:
            call.result()
        with self.assertRaises(pasid.TimedOut):
            caught.exception.call.result()
        self.assertEqual(len(list(vm.bindings(device=part))), 1)

    def test_a_watch_takes_the_place_of_another(self):
        vm = self.connect()
        vm.set_create("vm")
        first = vm.watch()
        (number,) = vm.allocate()
        second = vm.watch(kinds=[pb.EVENT_GUEST_ATTACHED])
        vm.data_set(number, 1)
        vm.guest_attach(number, 1)
        self.assertEqual([event.kind for event in first], [pb.EVENT_GRANT_ALLOCATED])
        self.assertEqual(second.next(TIMEOUT).kind, pb.EVENT_GUEST_ATTACHED)
        self.assertIsNone(second.next(0))
        third = vm.watch(start=first.told, set="vm")
        kinds = [event.kind for event in self.until(third, pb.EVENT_GUEST_ATTACHED)]
        self.assertEqual(kinds, [pb.EVENT_GRANT_DATA, pb.EVENT_GUEST_ATTACHED])
        with self.assertRaises(pasid.Refused):
            vm.watch(start=1 << 62)
        vm.guest_detach(1)
        self.assertEqual(third.next(TIMEOUT).kind, pb.EVENT_GUEST_DETACHED)
        third.stop()
        self.assertIsNone(third.next())

    def test_unread_events_are_counted_when_they_are_dropped(self):
        vm = self.connect()
        vm.set_create("vm", quota=4096)
        watch = vm.watch(kinds=[pb.EVENT_GRANT_ALLOCATED, pb.EVENT_GRANT_FREE_PENDING, pb.EVENT_GRANT_QUARANTINED])
        for _ in range(20):
            numbers = vm.allocate(125)
            vm.free(*numbers)
        vm.ping()
        first = watch.next(TIMEOUT)
        self.assertEqual(first.kind, pb.EVENT_UNSPECIFIED)
        rest = []
        while (event := watch.next(0)) is not None:
            rest.append(event)
        self.assertEqual(first.lost + sum(event.lost + (event.kind != 0) for event in rest), 20 * 125 * 3)

    def test_a_daemon_that_says_nothing(self):
        vm = self.connect()
        vm.set_create("vm")
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            with self.assertRaises(pasid.TimedOut) as caught:
                vm.call("allocate", timeout=0.1)
            with self.assertRaises(pasid.TimedOut):
                pasid.Client(str(self.daemon.socket), timeout=0.2)
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        number = caught.exception.call.result().allocate.runs[0].first
        self.assertEqual([grant.host_pasid for grant in vm.grants()], [number])

    def test_holds_data_and_quarantine(self):
        vm, admin = self.connect(), self.admin()
        vm.set_create("vm")
        first, second = vm.allocate(2, data=3)
        vm.data_set(first, 4)
        self.assertEqual([grant.host_pasid for grant in vm.grants(data=4)], [first])
        vm.guest_attach(first, 9)
        self.assertEqual((vm.guest_find(9), vm.host_find(first).guest_pasid), (first, 9))
        vm.guest_detach(9)
        self.refused("guest-pasid-unknown", vm.guest_find, 9)
        admin.hold(second, set="vm")
        self.assertEqual([hold.host_pasid for hold in admin.holds()], [second])
        self.assertEqual((vm.free(first, second).freed, vm.free(first).unchanged), (2, 1))
        self.assertEqual(admin.host_find(second).state, pb.GRANT_FREE_PENDING)
        admin.release(second, set="vm")
        admin.quarantine_end(second)
        vm.allocate()
        self.refused("set-not-empty", vm.set_destroy)
        vm.set_destroy(force=True)
        self.assertTrue(eventually(lambda: not list(admin.sets())))
        self.assertEqual(vm.ping(b"there?"), b"there?")

    def test_a_participant_is_waited_for(self):
        vm, participant = self.connect(), self.connect(role=pb.ROLE_PARTICIPANT)
        with participant.watch(acknowledge=True, priority=pb.EVENT_PRIORITY_CPU) as watch:
            vm.set_create("vm")
            (number,) = vm.allocate()
            vm.free(number)
            freed = self.until(watch, pb.EVENT_GRANT_FREE_PENDING)[-1]
            self.assertEqual(participant.acknowledge([number], seen=freed.sequence).acknowledged, 1)
            self.until(watch, pb.EVENT_GRANT_RELEASED)
            self.assertIsNone(watch.next(0))
        self.assertEqual(list(watch), [])

    def test_the_map_in_memory_follows_its_set(self):
        vm = self.connect()
        vm.set_create("vm")
        with vm.set_export() as table:
            self.assertEqual([table.find(number) for number in (5, 0, -1, 1 << 20)], [None] * 4)
            numbers = {guest: vm.allocate(guest=guest)[0] for guest in (5, 1023, 1024, (1 << 20) - 1)}
            self.assertEqual({guest: table.find(guest) for guest in numbers}, numbers)
            vm.guest_detach(5)
            self.assertIsNone(table.find(5))
            vm.set_destroy(force=True)
            with self.assertRaises(pasid.MapClosed):
                table.find(1023)
        with self.assertRaises(pasid.MapClosed):
            table.find(1023)

    def test_a_client_is_its_process_own(self):
        vm = self.connect()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with self.assertRaises(RuntimeError):
                    vm.status()
                vm.close()
                pasid.Client(str(self.daemon.socket)).close()
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertTrue(vm.status().version)

    def test_every_operation_is_a_method(self):
        methods = {"hello": "__init__", "get_status": "status", "limit_list": "limits", "set_list": "sets",
                   "grant_list": "grants", "hold_list": "holds", "device_list": "devices", "binding_list": "bindings"}
        for operation in pb.Request.DESCRIPTOR.oneofs_by_name["operation"].fields:
            if not operation.name.startswith("set_move_"):  # an admin's program says what it likes with call()
                self.assertTrue(hasattr(pasid.Client, methods.get(operation.name, operation.name)), operation.name)

    def test_nothing_is_left_open(self):
        before = len(os.listdir("/proc/self/fd"))
        with pasid.Client(str(self.daemon.socket)) as vm:
            set_up(self.daemon, vm, "vm", ONE)
            with self.daemon.open_iommu() as iommufd:
                info, fd = vm.device_open(iommufd, TWO)
                os.close(fd)
            self.assertEqual(info.address, TWO)
            vm.set_export()
            self.refused("no-device", give_memory, vm, NOBODYS)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class Maps(Case):
    def test_a_map_goes_on_after_a_restart(self):
        for keeps in (True, False):
            with self.subTest(keeps=keeps):
                self.begin(lambda config: Manager(config, keeps=keeps))  # pylint: disable=cell-var-from-loop
                vm = self.connect()
                vm.set_create("vm")
                (number,) = vm.allocate(guest=5)
                table = vm.set_export()
                self.daemon.restart(kill=True)
                (other,) = vm.allocate(guest=6)
                vm.process()
                self.assertEqual((table.find(5), table.find(6)), (number, other))


class Handing(Case):
    """Sessions that another program made."""

    def setUp(self):
        self.begin()
        self.vmm = None

    def run_vmm(self, *words):
        command = [str(BUILD / "pasidctl"), "--socket", str(self.daemon.socket), *map(str, words), "--", sys.executable,
                   str(PYTHON / "examples" / "vmm.py")]
        environment = {**os.environ, "PYTHONPATH": BUILT.name, "PYTHONDONTWRITEBYTECODE": "1"}
        self.vmm = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.addCleanup(self.end_vmm)
        return self.vmm.stdout.readline()

    def end_vmm(self):
        self.vmm.kill()
        self.vmm.wait()
        self.vmm.stdout.close()

    def test_a_vmm_that_pasidctl_starts(self):
        iommu = self.daemon.simulation / "iommu"
        admin = self.admin()
        said = self.run_vmm("run", "--set", "vm", "--iommu", iommu, "--device", ONE, "--share", SHARED)
        self.assertRegex(said, r"^guest PASID 5 is \d+ on 2 devices$")
        self.assertEqual({address for address, _ in self.daemon.tables()}, {ONE, SHARED})
        self.vmm.kill()
        self.assertTrue(eventually(lambda: not self.daemon.tables()))
        self.assertTrue(all(info.dying for info in admin.sets()))  # the shared device was not drained

    def test_a_vmm_on_a_handed_connection(self):
        admin = self.admin()
        admin.set_create("vm")
        self.assertRegex(self.run_vmm("run", "--handed", "--set", "vm", "--share", SHARED), r" on 1 devices$")
        self.end_vmm()
        self.assertTrue(eventually(lambda: not self.daemon.tables()))
        self.assertRegex(eventually(lambda: self.vmm_again("connect", "vm")), r" on 0 devices$")

    def vmm_again(self, *words):
        """Refused while the set is being emptied."""
        said = self.run_vmm(*words)
        if not said:
            self.end_vmm()
        return said

    def test_a_session_is_handed_over(self):
        vm = self.connect()
        _, _, number = set_up(self.daemon, vm, "vm", ONE)
        given = vm.hand_over()
        self.assertIsNone(given.fd)
        other = self.connect(take_over=given.secret)
        self.assertTrue(other.session.resumed)
        self.assertEqual([grant.host_pasid for grant in other.grants()], [number])
        with self.assertRaises(pasid.NotConnected) as caught:
            vm.allocate()
        self.assertEqual(caught.exception.__cause__.reason, "handed-over")
        self.refused("hand-over-unknown", self.connect, take_over=given.secret[::-1])

    def test_a_connection_for_one_set(self):
        admin = self.admin()
        admin.set_create("vm")
        fd = admin.set_connect("vm")
        with pasid.Client(fd=fd) as vm:
            os.close(fd)
            self.assertEqual(vm.set_get().name, "vm")
            given = vm.hand_over()
            with pasid.Client(fd=given.fd, take_over=given.secret) as other:
                os.close(given.fd)
                self.assertEqual(len(other.allocate()), 1)
        self.assertEqual([info.name for info in admin.sets()], ["vm"])

    def test_what_is_inherited(self):
        found = pasid.inherited({"PASIDD_SET": "vm", "PASIDD_IOMMUFD": "4", "PASIDD_DEVICE_FDS": f"{ONE}=5,{TWO}=6",
                                 "PASIDD_DEVICE_IDS": f"{ONE}=1"})
        self.assertEqual((found.set_name, found.iommufd, found.devices), ("vm", 4, {ONE: 5, TWO: 6}))
        self.assertEqual((found.device_ids, found.connection, found.secret), ({ONE: 1}, None, None))
        for wrong in ({"PASIDD_FD": "-1"}, {"PASIDD_DEVICE_FDS": ONE}, {"PASIDD_DEVICE_IDS": f"{ONE}=x"}):
            with self.assertRaises(ValueError):
                pasid.inherited(wrong)
        with self.assertRaises(ValueError):
            pasid.Client.inherit()


class Package(unittest.TestCase):
    def test_it_is_built_as_pip_builds_it(self):
        with tempfile.TemporaryDirectory(prefix="pasid-python-") as folder:
            tree = pathlib.Path(folder)
            shutil.copytree(PYTHON, tree / "bindings" / "python", ignore=shutil.ignore_patterns("__pycache__", "build"))
            shutil.copytree(TOP / "proto", tree / "proto")
            subprocess.run([sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tree / "lib")], check=True,
                           cwd=tree / "bindings" / "python", timeout=5 * TIMEOUT)
            built = {file.name for file in (tree / "lib" / "pasid").iterdir()}
            expected = {file.name for file in (pathlib.Path(BUILT.name) / "pasid").iterdir()} - {"__pycache__"}
            self.assertEqual(built, expected)
            self.assertLessEqual({"pasid_pb2.py", "pasid_pb2.pyi", "py.typed", "client.py"}, built)


if __name__ == "__main__":
    unittest.main()
