# SPDX-License-Identifier: MIT
"""Who may do what: roles by user, group and cgroup, and connections that serve one set."""

import array
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import unittest

from pasid_client import BUILD, TIMEOUT, TOP, Client, Daemon, Refused, Vmm, eventually, guest, host, pb, set_ref

ONE, TWO, SHARED, ROOTS = (f"0000:00:0{i}.0" for i in (1, 2, 3, 4))
NOBODY = 65534
CONFIG = {
    "quarantine": {"cooling_ms": 200},
    "session": {"hello_ms": 300},
    "roles": {"participants": {"everyone": True}, "observers": {"everyone": True}},
    "devices": [
        {"address": SHARED, "use": "shared", "everyone": True},
        {"address": ROOTS, "use": "shared", "users": [0]},
    ],
}
OPERATIONS = [field.name for field in pb.Request.DESCRIPTOR.fields if field.number >= 16]


def hand(admin, name):
    """The other end of a connection for the set."""
    request = admin.request("set_connect", set=set_ref(name))
    admin.send(request)
    admin.result(request.id)
    return admin.fds.pop(request.id)[0]


class Handed(Vmm):
    """A process that says hello on a handed connection, does what it is told, and lives until it is killed."""

    def __init__(self, fd, action, uid=None):
        def connect():
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            return Client(fd=os.dup(fd))

        super().__init__(None, action, connect=connect)


class Authority(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)
        self.admin = self.daemon.admin()
        self.addCleanup(self.admin.close)

    def info(self, name):
        return self.admin.call("set_get", set=set_ref(name)).set_get

    def handed(self, name):
        client = Client(fd=hand(self.admin, name))
        self.addCleanup(client.close)
        return client

    def emptied(self, name):
        def check():
            info = self.info(name)
            return not info.dying and not info.active and not info.devices and not info.bindings

        return eventually(check)

    def refusal(self, client, operation, **fields):
        with self.assertRaises(Refused, msg=operation) as caught:
            client.call(operation, **fields)
        return caught.exception

    # -- the life of a handed connection

    # F46
    def test_it_does_the_business_of_its_set(self):
        self.admin.create("vm", pasids=8)
        vmm = self.handed("vm")
        device = vmm.add(self.daemon, ONE).id
        vmm.map_memory(device)
        number = vmm.allocate(guest_pasid=5, set=set_ref("vm"))[0]
        vmm.bind(guest(5), device)
        self.assertEqual(set(self.daemon.tables()), {(ONE, number)})
        self.assertEqual([info.name for info in vmm.pages("set_list", "sets")], ["vm"])
        for operation, fields in (
            ("set_create", {"name": "other"}),
            ("set_adjust", {"pasids": 9}),
            ("set_destroy", {"force": True}),
            ("set_connect", {"set": set_ref("vm")}),
            ("quarantine_end", {"host_pasid": number}),
        ):
            self.assertEqual(self.refusal(vmm, operation, **fields).reason, "role-not-allowed")
        self.assertEqual(self.refusal(vmm, "hello", version_min=1, version_max=1).reason, "hello-twice")
        self.assertTrue(self.admin.status().consistent)

    def test_its_end_empties_the_set_at_once_and_it_can_be_connected_again(self):
        made = self.admin.create("vm", pasids=8)
        for address in (ONE, ONE, TWO):
            vmm = self.handed("vm")
            device = vmm.add(self.daemon, address).id
            vmm.map_memory(device)
            number = vmm.allocate(guest_pasid=5)[0]
            vmm.bind(host(number), device)
            vmm.close()
            self.emptied("vm")
            self.assertEqual(self.daemon.tables(), {})
            state = self.admin.call("host_find", host_pasid=number).host_find
            self.assertIn(state.state, (pb.GRANT_QUARANTINED, pb.GRANT_IDLE))
        left = self.info("vm")
        self.assertEqual((left.id, left.pasids.limit), (made.id, 8))

    def test_a_killed_vmm_frees_its_numbers_and_detaches(self):
        self.admin.create("vm")
        fd = hand(self.admin, "vm")

        def machine(client):
            device = client.add(self.daemon, ONE).id
            shared = client.call("device_slice", address=SHARED).device_slice.id
            for one in (device, shared):
                client.map_memory(one)
            number = client.allocate()[0]
            client.bind(host(number), device, shared)
            return number

        vmm = Handed(fd, machine)
        self.addCleanup(vmm.kill)
        self.assertEqual(len(self.daemon.tables()), 2)
        # our copy stays open: it is the death of the process that counts
        vmm.kill()
        self.emptied("vm")
        self.assertEqual(self.daemon.tables(), {})
        os.close(fd)
        self.handed("vm").allocate()

    def test_a_set_has_one_at_a_time(self):
        self.admin.create("vm")
        fd = hand(self.admin, "vm")
        self.assertEqual(self.refusal(self.admin, "set_connect", set=set_ref("vm")).reason, "set-connected")
        os.close(fd)
        os.close(hand(self.admin, "vm"))
        with self.daemon.client() as vmm:
            vmm.create("own")
            self.assertEqual(self.refusal(self.admin, "set_connect", set=set_ref("own")).code, pb.BUSY)

    def test_its_session_is_taken_up_by_nobody(self):
        self.admin.create("vm")
        vmm = self.handed("vm")
        self.assertEqual((vmm.welcome.resume_token, vmm.welcome.grace_ms), (b"", 0))
        with self.daemon.client() as other:
            token = other.welcome.resume_token
        self.admin.create("vm2")
        with contextlib.closing(Client(fd=hand(self.admin, "vm2"), hello=False)) as client:
            refusal = self.refusal(client, "hello", version_min=1, version_max=1, resume_token=token)
            self.assertEqual(refusal.reason, "resume-token-unknown")

    def test_hello_may_come_late_but_not_after_something_else(self):
        self.admin.create("vm")
        self.admin.create("vm2")
        late = Client(fd=hand(self.admin, "vm"), hello=False)
        self.addCleanup(late.close)
        begun = Client(fd=hand(self.admin, "vm2"), hello=False)
        self.addCleanup(begun.close)
        begun.call("ping")
        self.assertTrue(begun.closed())
        late.call("hello", version_min=1, version_max=1)
        time.sleep(0.4)
        late.allocate()

    def test_credentials_come_with_hello_also_behind_an_empty_datagram(self):
        """One looks like the end of the connection, which is found out by way of credentials, too."""
        self.admin.create("vm")
        client = Client(fd=hand(self.admin, "vm"), hello=False)
        self.addCleanup(client.close)
        self.daemon.process.send_signal(signal.SIGSTOP)  # so that it finds all of it at once
        client.send_raw(b"")
        client.send(client.request("hello", version_min=1, version_max=1))
        client.sock.shutdown(socket.SHUT_WR)
        self.daemon.process.send_signal(signal.SIGCONT)
        self.assertTrue(client.closed())
        self.assertIn(f"process {os.getpid()} of user {os.geteuid()} serves the set", self.daemon.log())
        self.emptied("vm")

    def test_the_admins_death_changes_nothing(self):
        self.admin.create("vm")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def admin(client):
            socket.send_fds(theirs, [b"x"], [hand(client, "vm")])
            return True

        process = Vmm(None, admin, connect=self.daemon.admin)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        vmm = Client(fd=fds[0])
        self.addCleanup(vmm.close)
        before = vmm.allocate()
        process.kill()
        ours.close()
        theirs.close()
        time.sleep(0.1)
        self.assertNotEqual(vmm.allocate(), before)
        self.assertEqual(self.info("vm").active, 2)

    def test_the_daemon_stops_beside_it(self):
        self.admin.create("vm")
        vmm = self.handed("vm")
        device = vmm.add(self.daemon, ONE).id
        vmm.map_memory(device)
        vmm.bind(host(vmm.allocate()[0]), device)
        self.assertEqual(self.daemon.stop(), 0)
        self.assertTrue(vmm.closed())

    def test_the_log_says_who_uses_it(self):
        self.admin.create("vm")
        vmm = Handed(hand(self.admin, "vm"), lambda client: client.welcome.session)
        self.addCleanup(vmm.kill)
        line = f"process {vmm.pid} of user {os.geteuid()} serves the set"
        eventually(lambda: line in self.daemon.log())

    def test_the_end_of_the_set_ends_it_after_its_replies(self):
        self.admin.create("vm")
        vmm = self.handed("vm")
        vmm.add(self.daemon, ONE)
        request = vmm.request("allocate", count=3)
        vmm.send(request)
        self.admin.call("set_destroy", set=set_ref("vm"), force=True)
        with contextlib.suppress(Refused):
            vmm.result(request.id)
        self.assertTrue(vmm.closed())

    def test_what_nobody_takes_leaves_nothing(self):
        """An admin that dies with the reply unread, and a descriptor that is sent into itself."""
        self.admin.create("vm")

        def vanish(client):
            client.send(client.request("set_connect", set=set_ref("vm")))
            return True

        for _ in range(5):
            Vmm(None, vanish, connect=self.daemon.admin).kill()
            fd = eventually(self.try_hand)
            with socket.socket(fileno=fd) as end:
                end.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [end.fileno()]))])
        os.close(eventually(self.try_hand))

    def try_hand(self):
        try:
            return hand(self.admin, "vm")
        except Refused as refused:
            self.assertIn(refused.code, (pb.BUSY, pb.RETRY))
            return None

    def test_thousands_leave_descriptors_and_memory_where_they_were(self):
        self.admin.create("vm")

        def rounds(count):
            for number in range(count):
                fd = hand(self.admin, "vm")
                if number % 4:
                    os.close(fd)
                    continue
                with contextlib.closing(Client(fd=fd)) as client:
                    client.call("ping")
                self.emptied("vm")
                self.admin.seen_below = self.admin.next_id

        rounds(400)
        time.sleep(0.3)
        files, memory = self.daemon.open_files(), self.memory()
        rounds(2000)
        eventually(lambda: self.daemon.open_files() <= files)
        self.assertEqual(self.admin.status().sessions, 1)
        if b"__asan" not in (BUILD / "pasidd").read_bytes():
            self.assertLess(self.memory() - memory, 300)

    def memory(self):
        text = pathlib.Path(f"/proc/{self.daemon.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    # -- who is at the other end

    def test_it_may_be_used_by_another_process_than_it_was_handed_to(self):
        """Who says hello is who counts; who only has the descriptor may use it as long as that one lives."""
        self.admin.create("vm")
        fd = hand(self.admin, "vm")
        vmm = Handed(fd, lambda client: client.allocate())
        self.addCleanup(vmm.kill)
        third = Client(fd=fd, hello=False, first_id=1000)
        self.addCleanup(third.close)
        self.assertNotEqual(third.allocate(), vmm.result)
        self.assertEqual(self.refusal(third, "hello", version_min=1, version_max=1).reason, "hello-twice")
        vmm.kill()
        self.assertTrue(third.closed())
        self.emptied("vm")

    def test_it_is_a_vmm_whoever_made_the_pair(self):
        """The daemon is the peer of the pair, and may be root; that must never be the peer's authority."""
        self.admin.create("vm")
        client = Client(fd=hand(self.admin, "vm"), hello=False)
        self.addCleanup(client.close)
        for role in (pb.ROLE_ADMIN, pb.ROLE_OBSERVER, pb.ROLE_PARTICIPANT):
            refusal = self.refusal(client, "hello", version_min=1, version_max=1, role=role)
            self.assertEqual(refusal.reason, "role-not-allowed")
        client.call("hello", version_min=1, version_max=1)
        self.assertEqual(self.refusal(client, "device_share", address=ONE).reason, "role-not-allowed")

    @unittest.skipUnless(os.geteuid() == 0, "root only: becomes another user")
    def test_policy_looks_at_who_said_hello(self):
        self.admin.create("vm")
        fd = hand(self.admin, "vm")

        def slices(client):
            found = []
            for address in (SHARED, ROOTS):
                try:
                    client.call("device_slice", address=address)
                    found.append("")
                except Refused as refused:
                    found.append(refused.reason)
            return found

        vmm = Handed(fd, slices, uid=NOBODY)
        self.addCleanup(vmm.kill)
        self.assertEqual(vmm.result, ["", "no-device"])
        vmm.kill()
        os.close(fd)
        self.emptied("vm")
        root = Handed(hand(self.admin, "vm"), slices)
        self.addCleanup(root.kill)
        self.assertEqual(root.result, ["", ""])

    @unittest.skipUnless(os.geteuid() == 0, "root only: makes sets for another user")
    def test_the_sets_user_is_charged_for_it(self):
        self.admin.create("vm", uid=NOBODY)
        vmm = self.handed("vm")
        vmm.allocate(count=3)
        used = {
            (info.uid, info.resource): info.use.current
            for info in self.admin.pages("limit_list", "limits")
            if info.level == pb.LIMIT_USER
        }
        for resource, count in (("connections", 1), ("sessions", 1), ("sets", 1), ("pasids", 3)):
            self.assertEqual(used[NOBODY, resource], count, resource)

    # -- other sets

    # F9
    def test_two_vmms_of_one_user_reach_each_other_in_no_operation(self):
        clients = {}
        for name, address in (("a", ONE), ("b", TWO)):
            self.admin.create(name, pasids=16)
            clients[name] = client = self.handed(name)
            client.device = client.add(self.daemon, address).id
            client.map_memory(client.device)
            client.number = client.allocate(guest_pasid=5)[0]
            client.bind(host(client.number), client.device)
        before = self.everything()
        for mine, theirs in (("a", "b"), ("b", "a")):
            me, other = clients[mine], clients[theirs]
            for key in (theirs, self.info(theirs).id):
                self.reach(me, set_ref(key), other)
            self.reach(me, None, other)
        self.assertEqual(self.everything(), before)
        self.assertTrue(self.admin.status().consistent)

    def everything(self):
        seen = [self.admin.pages(*names) for names in (("set_list", "sets"), ("grant_list", "grants"))]
        seen += [self.admin.pages(*names) for names in (("device_list", "devices"), ("binding_list", "bindings"))]
        for one in seen[0]:
            one.pasids.hits = 0
        return [str(page) for page in seen] + [self.daemon.tables()]

    def reach(self, me, their_set, other):
        """Every operation, with the set, the numbers and the devices of another."""
        where = {"set": their_set} if their_set is not None else {}
        table = pb.Table(space=1)
        pair = pb.BindPair(device=other.device, table=table)
        attempts = {
            "allocate": {"devices": [other.device]},
            "extend": {"pasid": host(other.number), "devices": [other.device]},
            "free": {"pasids": [host(other.number)]},
            "guest_attach": {"host_pasid": other.number, "guest_pasid": 6},
            "guest_detach": {"guest_pasid": 6},
            "guest_find": {"guest_pasid": 6},
            "data_set": {"pasid": host(other.number), "data": 1},
            "device_remove": {"device": other.device},
            "memory_unmap": {"device": other.device, "space": 1, "length": 65536},
            "memory_map": {"device": other.device, "space": 2, "length": 65536},
            "bind": {"pasid": host(other.number), "pairs": [pair]},
            "unbind": {"pasid": host(other.number)},
            "rid_attach": {"pair": pair},
            "rid_detach": {"device": other.device},
            "replace": {"pasid": host(other.number), "pair": pair},
            "device_slice": {"address": ROOTS} if their_set is not None else {"device": other.device},
            "device_add": {},
            "set_create": {"name": "c"},
            "set_adjust": {"pasids": 1},
            "set_destroy": {"force": True},
            "set_connect": {},
            "quarantine_end": {"host_pasid": other.number},
            "device_share": {"address": TWO},
            "device_drained": {"device": other.device},
            "host_find": {"host_pasid": other.number},
            "recover": {"confirm_no_devices": True},
            "set_get": {},
            "set_export": {},
            "acknowledge": {"host_pasids": [other.number]},
            "hold": {"host_pasid": other.number},
            "release": {"host_pasid": other.number},
            "set_move_export": {},
            "set_move_reserve": {"token": bytes(16), "proof": bytes(8), "name": "c", "mode": 1, "quota": 1, "seal": True},
            "set_move_commit": {"token": bytes(16), "proof": bytes(8)},
            "set_move_take": {"token": bytes(16), "word": bytes(16)},
            "set_move_cancel": {"token": bytes(16), "force": True},
            "set_move_release": {"token": bytes(16), "force": True},
            "set_move_status": {},
        }
        lists = {
            "grant_list": "grants",
            "device_list": "devices",
            "binding_list": "bindings",
            "limit_list": "limits",
            "hold_list": "holds",
        }
        harmless = {"hello", "ping", "get_status", "watch", "set_list", "hand_over"}
        self.assertEqual(set(attempts) | set(lists) | harmless, set(OPERATIONS))
        without_set = {"set_create", "quarantine_end", "device_share", "device_drained", "host_find", "recover"}
        without_set |= {"acknowledge"}
        without_set |= {f"set_move_{step}" for step in ("reserve", "commit", "take", "cancel", "release")}
        own_is_fine = {"device_add", "set_get", "set_export"}
        for operation, fields in attempts.items():
            if operation in own_is_fine and their_set is None:
                continue
            used = fields if operation in without_set else {**fields, **where}
            refusal = self.refuse(me, operation, used)
            self.assertIn(refusal.code, (pb.NOT_FOUND, pb.DENIED), f"{operation}: {refusal}")
            if their_set is not None and operation not in without_set and refusal.code == pb.NOT_FOUND:
                self.assertEqual(refusal.reason, "no-set", operation)
        for operation, member in lists.items():
            with contextlib.suppress(Refused):
                for entry in me.pages(operation, member, **where):
                    self.assertNotEqual(entry.set, other.welcome.set)

    def refuse(self, me, operation, fields):
        if operation == "device_add":
            with self.daemon.open_iommu() as iommufd, self.daemon.open_device(TWO) as device:
                return self.refusal(me, operation, fds=[iommufd, device], **fields)
        if operation == "memory_map":
            fd = os.memfd_create("memory", os.MFD_CLOEXEC)
            try:
                os.ftruncate(fd, 65536)
                return self.refusal(me, operation, fds=[fd], **fields)
            finally:
                os.close(fd)
        return self.refusal(me, operation, **fields)

    # -- roles

    def documented(self):
        """{operation: roles} from the table in docs/PROTOCOL.md."""
        text = (TOP / "docs" / "PROTOCOL.md").read_text()
        rows = re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\|([^|]*)\|", text, re.MULTILINE)
        found = {name: {word.strip() for word in roles.split(",")} for name, roles in rows if name in OPERATIONS}
        every = {"admin", "VMM", "handed", "observer", "participant"}
        return {name: every if roles == {"all"} else roles for name, roles in found.items()}

    def test_every_operation_is_for_the_roles_that_the_documentation_names(self):
        documented = self.documented()
        self.assertEqual(set(documented), set(OPERATIONS))
        self.admin.create("vm")
        roles = {
            "admin": self.daemon.admin,
            "VMM": self.daemon.client,
            "handed": lambda: Client(fd=hand(self.admin, "vm")),
            "observer": lambda: self.daemon.client(role=pb.ROLE_OBSERVER),
            "participant": lambda: self.daemon.client(role=pb.ROLE_PARTICIPANT),
        }
        for role, connect in roles.items():
            with contextlib.closing(connect()) as client:
                for operation in OPERATIONS:
                    reason = ""
                    try:
                        client.call(operation)
                    except Refused as refused:
                        reason = refused.reason
                    allowed = role in documented[operation]
                    self.assertEqual(reason != "role-not-allowed", allowed, f"{operation} as {role}: {reason}")

    def test_a_participant_hears_everything_and_finds_owners(self):
        self.admin.create("vm")
        with contextlib.closing(self.daemon.client(role=pb.ROLE_PARTICIPANT)) as participant:
            participant.call("watch")
            with self.handed("vm") as vmm:
                number = vmm.allocate(data=7)[0]
                self.assertEqual(participant.wait_event(pb.EVENT_GRANT_ALLOCATED).host_pasid, number)
                found = participant.call("host_find", host_pasid=number).host_find
                self.assertEqual((found.set_name, found.data), ("vm", 0))
            participant.wait_event(pb.EVENT_GRANT_QUARANTINED)


def own_cgroup():
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return None


def make_cgroup(name):
    """A cgroup below our own; its folder, or None."""
    mounts = pathlib.Path("/proc/self/mounts").read_text()
    found = re.search(r"^\S+ (\S+) cgroup2 ", mounts, re.MULTILINE)
    if not found or own_cgroup() is None:
        return None
    folder = pathlib.Path(found[1] + own_cgroup()) / name
    try:
        folder.mkdir()
        return folder
    except OSError:
        return None


class Cgroups(unittest.TestCase):
    def setUp(self):
        name = f"pasidd-test-{os.getpid()}"
        self.folder = make_cgroup(name)
        if self.folder is None:
            self.skipTest("no cgroup v2 hierarchy that we may change")
        self.addCleanup(self.remove)
        self.path = f"{own_cgroup().rstrip('/')}/{name}"

    def remove(self):
        def gone():
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            return not self.folder.exists()

        eventually(gone)

    def enter(self):
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def test_a_role_and_a_device_for_those_in_a_cgroup(self):
        config = {
            "roles": {"vmms": {"cgroups": [self.path]}},
            "devices": [{"address": SHARED, "use": "shared", "cgroups": [self.path]}],
        }
        daemon = Daemon(config)
        self.addCleanup(daemon.cleanup)
        with self.assertRaises(Refused) as caught:
            daemon.client()
        self.assertEqual(caught.exception.reason, "role-not-allowed")

        def inside():
            self.enter()
            return daemon.client()

        def machine(client):
            client.create("vm")
            return client.call("device_slice", address=SHARED).device_slice.kind

        vmm = Vmm(None, machine, connect=inside)
        self.addCleanup(vmm.kill)
        self.assertEqual(vmm.result, pb.DEVICE_SLICE)
        # a handed connection needs no role, but the device asks for the cgroup of who said hello
        with daemon.admin() as admin:
            for enter, reason in ((False, "no-device"), (True, "")):
                admin.create(f"handed-{enter}")
                self.check_handed(admin, enter, reason)

    def check_handed(self, admin, enter, reason):
        fd = hand(admin, f"handed-{enter}")

        def connect():
            if enter:
                self.enter()
            return Client(fd=os.dup(fd))

        def machine(client):
            try:
                client.call("device_slice", address=SHARED)
                return ""
            except Refused as refused:
                return refused.reason

        vmm = Vmm(None, machine, connect=connect)
        self.addCleanup(vmm.kill)
        os.close(fd)
        self.assertEqual(vmm.result, reason)


class Pasidctl(unittest.TestCase):
    """pasidctl connect, and with it libpasid on a handed connection."""

    def setUp(self):
        self.daemon = Daemon(CONFIG)
        self.addCleanup(self.daemon.cleanup)

    def run_it(self, *words, text=""):
        return subprocess.run(
            [str(BUILD / "pasidctl"), "--socket", str(self.daemon.socket), *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def test_connect_runs_a_vmm(self):
        self.assertEqual(self.run_it("set", "create", "vm1", "--owner", "65534").returncode, 0)
        sets = json.loads(self.run_it("--json", "sets").stdout)
        self.assertEqual(sets[0]["uid"], 65534)
        for number in ("3", "7"):
            done = self.run_it(
                "connect", "vm1", "--fd", number, "--", str(BUILD / "vmm"), "--fd", number, text="info\nalloc host 2\n"
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            hello, info, numbers = map(json.loads, done.stdout.splitlines())
            self.assertTrue(hello["ok"] and info["ok"], done.stdout)
            self.assertEqual(len(numbers["pasids"]), 2)
            with self.daemon.admin() as admin:
                eventually(lambda a=admin: not a.call("set_get", set=set_ref("vm1")).set_get.active)

    def test_the_command_has_the_descriptor_and_its_number(self):
        self.run_it("set", "create", "vm1")
        script = 'echo $PASIDD_FD; readlink /proc/self/fd/$PASIDD_FD; echo "$1" "$2"; ls /proc/self/fd | wc -l'
        done = self.run_it("connect", "vm1", "--", "sh", "-c", script, "sh", "--fd", "--json")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "3")
        self.assertIn("socket:", lines[1])
        self.assertEqual(lines[2], "--fd --json")
        self.assertEqual(lines[3], "5", "0 to 2, the connection, and the folder that ls reads")

    def test_what_goes_wrong_is_said(self):
        self.run_it("set", "create", "vm1")
        for words, code, text in (
            (("connect", "vm1", "true"), 2, "connect takes"),
            (("connect", "vm1", "--"), 2, "connect takes"),
            (("connect", "vm2", "--", "true"), 1, "vm2"),
            (("connect", "vm1", "--", "/no/such/program"), 4, "/no/such/program"),
            (("connect", "vm1", "--fd", "x", "--", "true"), 2, '"x" is no number'),
            (("set", "create", "vm3", "--owner", "no such user"), 2, "no such user"),
        ):
            done = self.run_it(*words)
            self.assertEqual(done.returncode, code, done)
            self.assertIn(text, done.stderr)
        self.assertEqual(self.run_it("connect", "vm1", "--", "true").returncode, 0)

    def test_a_second_connection_is_refused(self):
        self.run_it("set", "create", "vm1")
        line = ["connect", "vm1", "--", "sh", "-c", "echo ready; exec sleep 60"]
        with subprocess.Popen(
            [str(BUILD / "pasidctl"), "--socket", str(self.daemon.socket), *line], stdout=subprocess.PIPE
        ) as holder:
            self.assertEqual(holder.stdout.readline(), b"ready\n")
            done = self.run_it("--json", "connect", "vm1", "--", "true")
            self.assertEqual(done.returncode, 1)
            self.assertEqual(json.loads(done.stdout)["reason"], "set-connected")
            holder.kill()
        eventually(lambda: self.run_it("connect", "vm1", "--", "true").returncode == 0)


if __name__ == "__main__":
    unittest.main()
