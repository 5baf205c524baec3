# SPDX-License-Identifier: MIT
"""pasidctl against the daemon: what people and programs see, and its exit codes."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest
import uuid

from pasid_client import BUILD, TIMEOUT, Daemon, Refused, eventually, host, pb, set_ref

PASIDCTL = BUILD / "pasidctl"
DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
SHARED = "0000:00:03.0"
CONFIG = {
    "quarantine": {"cooling_ms": 1},
    "devices": [{"address": SHARED, "use": "shared", "everyone": True}],
    "simulate": {"devices": [{"address": "0000:00:01.0"}, {"address": SHARED}, {"address": "0000:00:04.0"}]},
}
COMMANDS = (
    "status", "sets", "pasids", "devices", "bindings", "who", "watch", "set create", "set adjust", "set destroy",
    "alloc", "free", "guest attach", "guest detach", "guest find", "share", "slice", "remove", "drained", "release",
    "memory map", "memory unmap", "bind", "unbind", "replace", "connect", "fsck", "recover", "translate", "hold",
    "holds", "move", "moves", "extend", "participate", "tree", "map", "stream install", "stream replace",
    "stream remove", "doctor", "metrics", "run", "history", "explain", "demo",
)  # fmt: skip


def pasidctl(*words, socket="/nonexistent/pasidd.socket", environment=None):
    return subprocess.run(
        [PASIDCTL, "--socket", str(socket), *words],
        text=True,
        capture_output=True,
        timeout=TIMEOUT,
        env={**os.environ, **(environment or {})},
    )


class WithDaemon(unittest.TestCase):
    config = CONFIG

    def setUp(self):
        self.daemon = Daemon(self.config)
        self.addCleanup(self.daemon.cleanup)

    def ctl(self, *words):
        return pasidctl(*words, socket=self.daemon.socket)

    def idle(self, *words):
        """What is said of a number that nobody has: the reason, and both lines for people."""
        who = self.done("who", *words)
        self.assertEqual((who["state"], who["set"]), ("idle", None))
        lines = self.ctl("who", *words).stdout.splitlines()
        if who["reason"] is None:
            self.assertEqual((who["message"], lines), (None, [f"PASID {who['pasid']}: idle"]))
        else:
            self.assertEqual(lines, [f"PASID {who['pasid']}: idle, {who['reason']}", f"  {who['message']}"])
        return who["reason"]

    def done(self, *words):
        """Its JSON, from a command that must succeed."""
        ended = self.ctl("--json", *words)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), words)
        return json.loads(ended.stdout)

    def refused(self, reason, *words):
        """Its JSON, from a command that must be refused: on standard output, and the sentence on standard error."""
        ended = self.ctl("--json", *words)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        answer = json.loads(ended.stdout)
        self.assertEqual((answer["ok"], answer["reason"]), (False, reason))
        self.assertIn(answer["message"], ended.stderr)
        return answer

    def bound(self):
        """The PASIDs that stand in the tables of the IOMMU."""
        return [entry["pasid"] for entry in json.loads(self.daemon.sim("tables", "--json"))]

    def vm1(self):
        """A set with a slice, memory behind it, and one number."""
        self.done("set", "create", "vm1", "--quota", "16")
        self.done("slice", "--set", "vm1", SHARED)
        self.done("memory", "map", "--set", "vm1", SHARED, "0", "0x10000")
        return self.done("alloc", "--set", "vm1", "--guest", "5")["pasids"][0]


class Reading(WithDaemon):
    def test_status_says_what_is_going_on(self):
        self.vm1()
        status = self.done("status")
        self.assertEqual((status["backend"], status["sets"], status["pasids"]["current"]), ("simulated", 1, 1))
        self.assertIs(status["consistent"], True)
        people = self.ctl("status").stdout
        self.assertIn("backend simulated", people)
        self.assertIn("recount:   agrees", people)

    def test_tables_are_aligned_under_their_headers(self):
        self.vm1()
        self.done("set", "create", "a-much-longer-name")
        lines = self.ctl("sets").stdout.splitlines()
        self.assertEqual(len(lines), 3)
        end = lines[0].index("MODE")
        self.assertTrue(all(re.match(r"^\S+ +\d+$", line[:end].rstrip()) for line in lines[1:]), lines)
        self.assertTrue(all(line[end - 2 : end] == "  " for line in lines), lines)
        # Numbers stand under the end of their header.
        quota = lines[0].index("QUOTA") + len("QUOTA")
        self.assertTrue(lines[1][:quota].endswith(" 16") or lines[2][:quota].endswith(" 16"), lines)

    def test_lists_and_who_agree(self):
        number = self.vm1()
        self.done("bind", "--set", "vm1", "guest:5", f"{SHARED}=space:0")
        (grant,) = self.done("pasids", "--set", "vm1")
        self.assertEqual((grant["pasid"], grant["guest"], grant["state"]), (number, 5, "active"))
        (binding,) = self.done("bindings", "--pasid", str(number))
        self.assertEqual((binding["set"], binding["address"], binding["state"]), ("vm1", SHARED, "bound"))
        kinds = {device["kind"]: device["set"] for device in self.done("devices")}
        self.assertEqual(kinds, {"shared": None, "slice": "vm1"})
        who = self.done("who", hex(number))
        self.assertEqual((who["set"], [bound["address"] for bound in who["bound"]]), ("vm1", [SHARED]))
        self.assertIn(f"PASID {number}: active, set vm1, scope global, guest PASID 5", self.ctl("who", str(number)).stdout)
        self.assertEqual(self.done("who", "5000")["state"], "idle")
        self.done("set", "create", "another")
        who = self.done("who", str(number), "--set", "another")
        self.assertEqual((who["set"], who["state"], who["bound"]), (None, "idle", []))

    def test_who_says_why_nobody_has_a_number(self):
        number = self.vm1()
        self.assertIsNone(self.idle("5000"))
        self.assertIsNone(self.idle("1048575"))
        self.assertEqual(self.idle("1"), "kernel-range")
        self.assertEqual(self.idle("1023"), "kernel-range")
        self.assertIsNone(self.idle("1024" if number != 1024 else "1025"))
        self.done("set", "create", "another")
        self.assertEqual(self.idle(str(number), "--set", "another"), "not-of-set")
        self.assertEqual(self.idle("7", "--set", "another"), "kernel-range")
        self.assertNotIn("reason", self.done("who", str(number)))
        for none in ("0", "1048576"):
            refused = self.ctl("--json", "who", none)
            self.assertEqual(json.loads(refused.stdout)["reason"], "bad-range")
            self.assertIn("they go from 1 to 1048575", refused.stderr)

    def test_watch_prints_a_line_for_each_event(self):
        watch = subprocess.Popen(
            [PASIDCTL, "--socket", self.daemon.socket, "--json", "watch", "--events", "2"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.kill)
        eventually(lambda: self.done("status")["sessions"] == 2)
        eventually(lambda: self.ctl("set", "create", "vm1").returncode == 0)
        self.done("alloc", "--set", "vm1")
        events = [json.loads(watch.stdout.readline())["event"] for _ in range(2)]
        self.assertEqual(events, ["set-created", "grant-allocated"])
        self.assertEqual(watch.wait(TIMEOUT), 0)

    def test_watch_ends_when_its_reader_goes(self):
        watch = subprocess.Popen([PASIDCTL, "--socket", self.daemon.socket, "watch"], stdout=subprocess.PIPE)
        self.addCleanup(watch.kill)
        eventually(lambda: self.done("status")["sessions"] == 2)
        watch.stdout.close()
        self.assertEqual(watch.wait(TIMEOUT), 0)


class Narrow(WithDaemon):
    """Devices take 16 bits, and nothing is left to the kernel."""

    config = {**CONFIG, "namespace": {"pasid_width": 16, "reserved_last": 0}}

    def test_who_says_what_no_device_takes(self):
        self.assertIsNone(self.idle("1"))
        self.assertIsNone(self.idle("65535"))
        self.assertEqual(self.idle("65536"), "beyond-width")
        self.assertIn("more than 16 bits", self.done("who", "1048575")["message"])
        self.assertEqual(self.done("status")["pasid_width"], 16)


class Participating(WithDaemon):
    config = {**CONFIG, "participants": {"unbind_wait_ms": 60000}}

    # F22
    def test_participate_is_waited_for_and_acknowledges_its_input(self):
        vmm = self.daemon.client()
        self.addCleanup(vmm.close)
        vmm.create("vm1")
        vmm.map_memory(vmm.call("device_slice", address=SHARED).device_slice.id)
        (device,) = vmm.pages("device_list", "devices")
        (number,) = vmm.allocate()
        vmm.bind(host(number), device.id)
        with subprocess.Popen(
            [PASIDCTL, "--socket", self.daemon.socket, "--json", "participate"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        ) as participant:  # fmt: skip
            self.addCleanup(participant.kill)
            self.assertTrue(eventually(lambda: self.waits(participant, number)))
            vmm.send(vmm.request("unbind", pasid=host(number)))
            told = self.event(participant, "binding-unbinding")
            self.assertEqual(told["pasid"], number)
            for line in ("", "x", f"{number} x", "9" * 70, f"{number} {told['sequence'] - 1}", "0", f" {number:#x} "):
                participant.stdin.write(line + "\n")
            self.assertEqual(self.event(participant, "binding-unbound")["pasid"], number)
            vmm.free(number)
            freed = self.event(participant, "grant-free-pending")
            self.shows_whom_it_waits_for(number, participant.pid)
            participant.stdin.write(f"{number} {freed['sequence']}")  # no line yet
            participant.stdin.write("\n")
            self.event(participant, "grant-acknowledged")
            errors = participant.communicate(timeout=TIMEOUT)[1]
        self.assertEqual(participant.returncode, 0)
        for error in ('"x"', "too long", f"{number} does not wait", "0 is no PASID"):
            self.assertIn(error, errors)

    def shows_whom_it_waits_for(self, number, pid):
        (listed,) = self.done("pasids", "--quarantined")
        self.assertIn("unacknowledged", listed["quarantine"])
        (waited,) = listed["awaited"]
        self.assertEqual((waited["uid"], waited["pid"]), (os.getuid(), pid))
        self.assertEqual(self.done("who", str(number))["awaited"], [waited])
        text = f"session {waited['session']} (user {os.getuid()}, process {pid})"
        self.assertIn(f"  waits for the acknowledgement of {text}\n", self.ctl("who", str(number)).stdout)
        self.assertRegex(self.ctl("pasids", "--quarantined").stdout, rf"unacknowledged +{re.escape(text)}\n")

    def waits(self, participant, number):
        """Whether it has begun to watch, which the data of a number tells it."""
        self.assertIsNone(participant.poll())
        with self.daemon.client(role=pb.ROLE_ADMIN) as admin:
            admin.call("data_set", set=set_ref("vm1"), pasid=host(number), data=1)
        return select.select([participant.stdout], [], [], 0.2)[0]

    def event(self, participant, kind):
        for line in participant.stdout:
            event = json.loads(line)
            if event["event"] == kind:
                return event
        self.fail(f"no {kind}")

    def test_participate_ends_with_its_input_or_after_so_many_events(self):
        ended = self.ctl("participate", "--events", "1")
        self.assertEqual((ended.returncode, ended.stdout), (0, ""))
        self.assertEqual(self.ctl("participate", "x").returncode, 2)


class Limited(WithDaemon):
    config = {**CONFIG, "limits": {"watches": {"user": 1}}}

    # F28
    def test_limits_show_use_peak_and_refusals_with_the_key_of_the_configuration(self):
        with self.daemon.client() as watcher, self.daemon.client() as other:
            watcher.call("watch")
            for _ in range(2):
                with self.assertRaisesRegex(Refused, "limits.watches.user"):
                    other.call("watch")
            limits = {entry["key"]: entry for entry in self.done("status", "--limits")}
            self.assertEqual(limits["limits.connections.host"]["current"], 3)
            watches = limits["limits.watches.user"]
            self.assertEqual([watches[key] for key in ("current", "limit", "peak", "hits")], [1, 1, 1, 2])
            self.assertEqual((watches["level"], watches["uid"]), ("user", os.getuid()))
        self.assertTrue(eventually(lambda: self.watches()["current"] == 0))
        self.assertEqual((self.watches()["peak"], self.watches()["hits"]), (1, 2))

    # F28
    def test_limits_show_what_is_reserved_and_what_of_it_is_set_aside(self):
        daemon = Daemon({"reservations": [{"name": "db", "user": os.getuid(), "pasids": 60}]})
        self.addCleanup(daemon.cleanup)
        with daemon.client() as db:
            db.create("db", pasids=20)
            shown = pasidctl("--json", "status", "--limits", socket=daemon.socket).stdout
        (found,) = [entry for entry in json.loads(shown) if entry["level"] == "reservation"]
        shown = [found[key] for key in ("set", "uid", "current", "limit", "peak", "hits", "aside", "key")]
        self.assertEqual(shown, ["db", os.getuid(), 20, 60, 20, 0, 40, "reservations"])

    def watches(self):
        (found,) = [e for e in self.done("status", "--limits") if e["key"] == "limits.watches.user"]
        return found

    def test_pages_of_one_are_the_whole_list_in_the_order_of_its_levels(self):
        self.vm1()
        with self.daemon.client(role=pb.ROLE_OBSERVER) as observer:
            single = observer.pages("limit_list", "limits", limit=1)
            whole = observer.pages("limit_list", "limits")
        shown = [(info.level, info.uid, info.set_name, info.key) for info in single]
        self.assertEqual(shown, [(info.level, info.uid, info.set_name, info.key) for info in whole])
        self.assertEqual(len(set(shown)), len(shown))
        self.assertEqual([level for level, *_ in shown], sorted(level for level, *_ in shown))
        self.assertEqual({name for level, _, name, _ in shown if level == pb.LIMIT_SET}, {"vm1"})

    def test_one_set_is_shown_alone_with_what_it_uses(self):
        self.vm1()
        self.done("set", "create", "vm2")
        limits = self.done("status", "--limits", "--set", "vm1")
        self.assertEqual({entry["set"] for entry in limits}, {"vm1"})
        used = {entry["key"]: (entry["current"], entry["limit"]) for entry in limits}
        self.assertEqual(used["pasidctl set adjust"], (1, 16))
        self.done("set", "create", "vm3", "--quota", "1024")
        for name in ("vm2", "vm3"):  # nobody remembers which of them asked for what the default is
            limits = self.done("status", "--limits", "--all", "--set", name)
            (quota,) = [entry for entry in limits if entry["resource"] == "pasids"]
            self.assertEqual((quota["limit"], quota["key"]), (1024, "pasidctl set adjust"))
        self.assertEqual(used["limits.devices.set"], (1, 64))
        self.refused("no-set", "status", "--limits", "--set", "nobody")

    def test_a_vmm_sees_the_limits_of_its_own_set_alone(self):
        self.vm1()
        with self.daemon.client() as vmm:
            vmm.create("vm2")
            limits = vmm.pages("limit_list", "limits")
            self.assertEqual({(info.level, info.set_name) for info in limits}, {(pb.LIMIT_SET, "vm2")})
            cursor = vmm.call("limit_list", after=1).limit_list.limits
            self.assertEqual({info.level for info in cursor}, {pb.LIMIT_SET})
            with self.assertRaises(Refused) as caught:
                vmm.call("limit_list", set=pb.SetRef(id=self.done("sets")[0]["id"]))
            self.assertEqual(caught.exception.reason, "no-set")

    def test_every_resource_is_listed_for_the_host(self):
        limits = self.done("status", "--limits", "--all")
        host = {entry["resource"] for entry in limits if entry["level"] == "host"}
        self.assertLessEqual({"connections", "sessions", "sets", "pasids", "operations", "bindings"}, host)
        self.assertEqual([entry for entry in limits if entry["level"] == "unknown"], [])


class Changing(WithDaemon):
    def test_the_life_of_a_number(self):
        number = self.vm1()
        self.done("bind", "--set", "vm1", "guest:5", f"{SHARED}=space:0")
        self.assertEqual(self.bound(), [number])
        self.refused("set-not-empty", "set", "destroy", "vm1")
        self.done("unbind", "--set", "vm1", str(number), SHARED)
        self.assertEqual(self.bound(), [])
        self.assertEqual(self.done("free", "--set", "vm1", "guest:5")["freed"], 1)
        self.assertEqual(self.done("pasids"), [])
        eventually(lambda: [g["quarantine"] for g in self.done("pasids", "--quarantined")] == [["undrained"]])
        self.assertEqual(self.done("drained", SHARED)["released"], 1)
        eventually(lambda: self.done("who", str(number))["state"] == "idle")
        self.done("memory", "unmap", "--set", "vm1", SHARED, "0", "0", "0x10000")
        (slice_id,) = [device["id"] for device in self.done("devices", "--set", "vm1")]
        self.done("remove", "--set", "vm1", str(slice_id))
        self.done("set", "destroy", "vm1")
        self.assertEqual(self.done("sets"), [])

    def test_an_admin_vouches_for_a_quarantined_number(self):
        number = self.vm1()
        self.done("bind", "--set", "vm1", str(number), f"{SHARED}=space:0")
        self.refused("not-active", "release", "5000")
        self.done("set", "destroy", "vm1", "--force")
        eventually(lambda: self.done("who", str(number))["quarantine"] == ["undrained"])
        self.done("release", str(number))
        self.assertEqual(self.done("who", str(number))["state"], "idle")

    def test_numbers_in_blocks_and_ranges(self):
        self.done("set", "create", "vm1", "--mode", "identity")
        block = self.done("alloc", "--set", "vm1", "--count", "8", "--consecutive")["pasids"]
        self.assertEqual(block, list(range(block[0], block[0] + 8)))
        self.assertEqual(block[0] % 8, 0)
        some = self.done("alloc", "--set", "vm1", "--min", "0x2000", "--max", "0x2001", "--count", "2")["pasids"]
        self.assertEqual(sorted(some), [0x2000, 0x2001])
        self.assertEqual(self.ctl("alloc", "--set", "vm1", "--min", "9000").stdout, "9000\n")
        self.assertEqual(self.done("free", "--set", "vm1", "--all")["freed"], 11)

    def test_guest_numbers(self):
        self.done("set", "create", "vm1")
        number = self.done("alloc", "--set", "vm1", "--data", "0xffffffffffffffff")["pasids"][0]
        self.done("guest", "attach", "--set", "vm1", str(number), "7")
        self.assertEqual(self.done("guest", "find", "--set", "vm1", "7")["pasid"], number)
        self.assertEqual(self.done("who", str(number))["data"], "0xffffffffffffffff")
        self.done("guest", "detach", "--set", "vm1", "7")
        self.refused("guest-pasid-unknown", "guest", "find", "--set", "vm1", "7")

    def test_a_file_is_mapped_as_a_copy(self):
        number = self.vm1()
        file = self.daemon.folder / "memory"
        file.write_bytes(b"x" * 5000)
        length = self.done("memory", "map", "--set", "vm1", SHARED, "1", str(file), "--iova", "0x100000")["length"]
        self.assertEqual(length, 8192)
        self.done("bind", "--set", "vm1", str(number), f"{SHARED}=space:1")
        walk = json.loads(self.daemon.sim("walk", SHARED, str(number), "0x101000", "--json"))
        self.assertEqual((walk["result"], walk["offset"]), ("reached", "0x1000"))

    def test_a_set_is_adjusted(self):
        self.done("set", "create", "vm1", "--quota", "4")
        self.done("alloc", "--set", "vm1", "--count", "4")
        answer = self.refused("set-quota", "alloc", "--set", "vm1")
        self.assertEqual((answer["limit"], answer["used"], answer["status"]), (4, 4, "quota"))
        self.refused("quota-below-use", "set", "adjust", "vm1", "3")
        self.done("set", "adjust", "vm1", "5")
        self.done("alloc", "--set", "id:%d" % self.done("sets")[0]["id"])

    def test_a_device_can_be_shared_later(self):
        self.assertEqual(self.done("share", "00:04.0")["device"]["kind"], "shared")

    def test_what_the_daemon_refuses_keeps_its_reason(self):
        self.vm1()
        pair = f"{SHARED}=space:0"
        self.refused("pasid-zero", "bind", "--set", "vm1", "0", pair)
        self.refused("no-pasid", "bind", "--set", "vm1", "5000", pair)
        self.refused("no-device", "bind", "--set", "vm1", "guest:5", "0000:00:01.0=space:0")
        self.refused("no-set", "alloc", "--set", "nobody")
        self.refused("set-exists", "set", "create", "vm1")


class Roles(WithDaemon):
    config = {**CONFIG, "roles": {"admins": {}, "observers": {}, "vmms": {"everyone": True}}}

    def test_who_may_not_observe_sees_what_a_vmm_sees_and_is_told(self):
        ended = self.ctl("--json", "sets")
        self.assertEqual((ended.returncode, json.loads(ended.stdout)), (0, []))
        self.assertIn("you may not observe this host", ended.stderr)

    def test_who_is_no_admin_changes_nothing_and_is_told(self):
        ended = self.ctl("set", "create", "vm1")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("needs the role admin", ended.stderr)


class FakeDaemon(threading.Thread):
    """Says hello, and lists the limits that it was given, two a page."""

    def __init__(self, limits):
        super().__init__(daemon=True)
        self.limits, self.asked = limits, []
        self.folder = tempfile.TemporaryDirectory(prefix="pasidctl-")
        self.path = os.path.join(self.folder.name, "socket")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen()
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                with connection:
                    while data := connection.recv(65536):
                        replies = [self.answer(request) for request in pb.ToServer.FromString(data).requests]
                        connection.send(pb.ToClient(replies=replies).SerializeToString())

    def answer(self, request):
        reply = pb.Reply(id=request.id)
        if request.WhichOneof("operation") == "hello":
            reply.hello.CopyFrom(pb.HelloResult(
                version=1, instance=bytes(16), session=1, role=request.hello.role, window=64, datagram_limit=65536,
                request_limit=64))
        else:
            asked = request.limit_list
            self.asked.append(asked)
            page = self.limits[asked.after : asked.after + 2]
            following = asked.after + 2 if asked.after + 2 < len(self.limits) else 0
            reply.limit_list.CopyFrom(pb.LimitListResult(limits=page, next=following))
        return reply

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()
        self.folder.cleanup()


class Limits(unittest.TestCase):
    """How they are shown; a daemon that can be told what to say."""

    LIMITS = [
        pb.LimitInfo(resource="sets", level=pb.LIMIT_SET, uid=1000, set=9, set_name="vm1", key="limits.sets.set",
                     use=pb.Counter(limit=4, current=1, peak=3)),
        pb.LimitInfo(resource="connections", level=pb.LIMIT_HOST, key="limits.connections.host",
                     use=pb.Counter(limit=6144, current=12, peak=40, hits=2)),
        pb.LimitInfo(resource="devices", level=pb.LIMIT_HOST, key="limits.devices.host", use=pb.Counter(current=1)),
        pb.LimitInfo(resource="watches", level=pb.LIMIT_HOST, key="limits.watches.host",
                     use=pb.Counter(limit=4096, peak=1)),
        pb.LimitInfo(resource="operations", level=pb.LIMIT_USER, uid=1000, key="limits.operations.user",
                     use=pb.Counter(limit=2048, peak=2048, hits=7)),
    ]  # fmt: skip

    def setUp(self):
        self.fake = FakeDaemon(self.LIMITS)
        self.addCleanup(self.fake.stop)

    def shown(self, *words):
        ended = pasidctl("status", "--limits", *words, socket=self.fake.path)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout

    def test_a_table_by_level_of_what_is_in_use_or_was_hit(self):
        self.assertEqual(self.shown(), (
            "LEVEL   UID  SET  RESOURCE     CURRENT  LIMIT  PEAK  HITS  KEY\n"
            "host      -  -    connections       12   6144    40     2  limits.connections.host\n"
            "host      -  -    devices            1      -     0     0  limits.devices.host\n"
            "user   1000  -    operations         0   2048  2048     7  limits.operations.user\n"
            "set    1000  vm1  sets               1      4     3     0  limits.sets.set\n"))
        self.assertEqual([asked.after for asked in self.fake.asked], [0, 2, 4])

    def test_all_shows_what_is_idle_too(self):
        self.assertNotIn("watches", self.shown())
        self.assertRegex(self.shown("--all"), r"host +- +- +watches +0 +4096 +1 +0 +limits\.watches\.host\n")

    def test_one_set_is_asked_for(self):
        self.shown("--set", "vm1")
        self.assertEqual(self.fake.asked[0].set, pb.SetRef(name="vm1"))

    def test_programs_get_the_same_as_objects(self):
        answer = json.loads(self.shown("--json"))
        self.assertEqual([entry["level"] for entry in answer], ["host", "host", "user", "set"])
        self.assertEqual(answer[1]["limit"], None)
        self.assertEqual(answer[3], {
            "level": "set", "uid": 1000, "set_id": 9, "set": "vm1", "resource": "sets", "limit": 4, "current": 1,
            "peak": 3, "hits": 0, "key": "limits.sets.set"})
        self.assertEqual(len(json.loads(self.shown("--json", "--all"))), 5)


class ExitCodes(WithDaemon):
    def test_no_daemon_is_3(self):
        ended = pasidctl("status")
        self.assertEqual(ended.returncode, 3)
        self.assertIn("is pasidd running?", ended.stderr)
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.ctl("status").returncode, 3)

    def test_a_daemon_that_does_not_answer_is_4(self):
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            ended = self.ctl("--timeout", "0.2", "status")
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(ended.returncode, 4, ended.stderr)

    def test_a_change_that_takes_longer_is_4_and_goes_on(self):
        self.vm1()
        self.daemon.sim("hang", SHARED, "1000")
        words = ("--timeout", "0.2", "bind", "--set", "vm1", "guest:5", f"{SHARED}=space:0")
        ended = self.ctl("--json", *words)
        self.assertEqual(ended.returncode, 4, ended.stderr)
        answer = json.loads(ended.stdout)
        self.assertEqual((answer["status"], answer["reason"]), ("pending", "deadline-passed"))
        self.assertIn("the daemon goes on with it: `pasidctl status`", answer["message"])
        self.assertTrue(eventually(lambda: [entry["state"] for entry in self.done("bindings")] == ["bound"]))

    def test_the_environment_names_the_socket(self):
        ended = subprocess.run(
            [PASIDCTL, "status"],
            capture_output=True,
            timeout=TIMEOUT,
            env={**os.environ, "PASIDD_SOCKET": str(self.daemon.socket)},
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)


class CommandLine(unittest.TestCase):
    """What needs no daemon: there is none."""

    def test_wrong_command_lines_are_2(self):
        for words in (
            (),
            ("nonsense",),
            ("set",),
            ("sets", "--nonsense"),
            ("sets", "--force"),
            ("sets", "word"),
            ("who",),
            ("who", "1", "2"),
            ("alloc",),
            ("alloc", "--set"),
            ("alloc", "--set", "vm1", "--count", "many"),
            ("alloc", "--set", "vm1", "--count", "-1"),
            ("alloc", "--set", "vm1", "--count", "0x"),
            ("alloc", "--set", "vm1", "--min", "0x100000"),
            ("set", "create", "vm1", "--mode", "none"),
            ("--timeout", "soon", "sets"),
            ("--json=yes", "sets"),
            ("unbind", "--set", "vm1"),
            ("status", "--all"),
            ("status", "--set", "vm1"),
            ("sets", "--limits"),
        ):
            ended = pasidctl(*words)
            self.assertEqual((ended.returncode, ended.stdout), (2, ""), words)
            self.assertIn("pasidctl --help", ended.stderr)

    def test_help_names_every_command_and_the_exit_codes(self):
        ended = pasidctl("--help")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        for command in COMMANDS:
            self.assertRegex(ended.stdout, rf"(?m)^  {command} ")
        self.assertIn("3 no daemon", ended.stdout)
        listed = re.findall(r"(?m)^  (\S+(?: \S+)?)  +\S", ended.stdout.split("\n  --socket")[0])
        self.assertEqual(sorted(listed), sorted(COMMANDS))

    def test_every_command_explains_itself_with_examples(self):
        for command in COMMANDS:
            ended = pasidctl(*command.split(), "--help")
            self.assertEqual(ended.returncode, 0)
            self.assertTrue(ended.stdout.startswith(f"Usage: pasidctl {command}"), ended.stdout)
            self.assertNotRegex(ended.stdout, r"(?m) $|\?\.$")
            self.assertIn(f"  pasidctl {command}", ended.stdout.split("Examples:")[1].replace("--json ", ""))

    def test_version(self):
        self.assertRegex(pasidctl("--version").stdout, r"^pasidctl \d+\.\d+\.\d+\n$")


class SetById(WithDaemon):
    """Names come again, ids do not: who made a set and means that one says its id."""

    # F10
    def test_set_is_adjusted_and_destroyed_by_its_id(self):
        made = self.done("set", "create", "vm1", "--quota", "8")["set"]["id"]
        self.assertEqual(self.done("set", "adjust", f"id:{made}", "9")["set"]["pasids"]["limit"], 9)
        self.done("set", "destroy", f"id:{made}")
        again = self.done("set", "create", "vm1")["set"]["id"]
        self.refused("no-set", "set", "destroy", f"id:{made}", "--force")
        self.assertEqual([entry["id"] for entry in self.done("sets")], [again])
        for words in (("destroy", "id:x"), ("adjust", "id:x", "5")):
            self.assertEqual(self.ctl("set", *words).returncode, 2)


class Stream(WithDaemon):
    """A guest's stream table entry; the simulated IOMMU takes none."""

    # F32
    def test_what_is_refused_says_why(self):
        self.done("set", "create", "owned", "--mode", "guest-owned")
        self.done("slice", "--set", "owned", SHARED)
        entry = (SHARED, "8", "0xb", "0", "space:0")
        for command in ("install", "replace"):
            self.refused("device-shared", "stream", command, "--set", "owned", *entry)
        self.refused("not-bound", "stream", "remove", "--set", "owned", SHARED)
        self.refused("no-device", "stream", "remove", "--set", "owned", "0000:00:09.0")
        self.assertEqual(self.bound(), [])

    def test_words_that_are_none(self):
        self.done("set", "create", "owned", "--mode", "guest-owned")
        for at, word in ((1, "-1"), (1, "0x100000000"), (2, "V"), (3, ""), (4, "guest:1"), (4, "hwpt:"), (4, "4")):
            entry = [SHARED, "8", "0xb", "0", "hwpt:4"]
            entry[at] = word
            for command in ("install", "replace"):
                ended = self.ctl("stream", command, "--set", "owned", *entry)
                self.assertEqual((ended.returncode, ended.stdout), (2, ""), entry)
                self.assertIn("pasidctl --help", ended.stderr)


class Fsck(unittest.TestCase):
    """The file of tests/data/state/, as if this boot had written it."""

    GRANTS, LOG_COUNT, SUM = 0x310000, 368, 32

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pasidd-fsck-")
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "state"
        lines = (DATA / "state" / "version-1").read_text().splitlines()
        with open(self.path, "wb") as file:
            file.truncate(int(lines[0].split()[1]))
            for line in lines[1:]:
                offset, data = line.split()
                file.seek(int(offset, 16))
                file.write(bytes.fromhex(data))
        boot_id = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
        self.write(16, uuid.UUID(boot_id.strip()).bytes)

    def write(self, offset, data):
        """Writes into the file, and the checksum of its header (FNV-1a) anew."""
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)
            file.seek(0)
            header = bytearray(file.read(192))
            header[self.SUM : self.SUM + 8] = bytes(8)
            total = 0xCBF29CE484222325
            for byte in header:
                total = (total ^ byte) * 0x100000001B3 % 2**64
            file.seek(self.SUM)
            file.write(total.to_bytes(8, "little"))

    def fsck(self, status):
        """Its JSON and its text; the file stays as it was."""
        before = self.path.read_bytes()
        people, programs = pasidctl("fsck", str(self.path)), pasidctl("--json", "fsck", str(self.path))
        self.assertEqual((people.returncode, programs.returncode), (status, status), people.stderr)
        self.assertEqual(self.path.read_bytes(), before)
        return json.loads(programs.stdout), people.stdout + people.stderr

    def test_a_good_file(self):
        answer, text = self.fsck(0)
        self.assertEqual((answer["ok"], answer["found"], answer["version"]), (True, "this-boot", 1))
        self.assertEqual((answer["undone"], answer["in_use"], answer["problem"]), (3, False, None))
        self.assertEqual(answer["tables"]["grants"], {"live": 5, "used": 5, "capacity": 2**20})
        self.assertTrue(text.endswith("\nok\n"), text)
        self.assertIn("3 stores would be taken back", text)

    def test_a_record_that_cannot_be(self):
        self.write(self.GRANTS + 32 + 16, b"\x63")
        answer, text = self.fsck(1)
        self.assertEqual((answer["ok"], answer["problem"]["table"], answer["problem"]["slot"]), (False, "grants", 1))
        self.assertIn("table grants, slot 1, value 0x63", text)
        self.assertIn("pasidctl recover", text)

    def test_a_file_in_use(self):
        with open(self.path, "r+b") as file:
            lock = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
            fcntl.fcntl(file, 37, lock)  # F_OFD_SETLK
            answer, text = self.fsck(0)
        self.assertTrue(answer["in_use"])
        self.assertIn("in motion", text)

    def test_an_earlier_boot(self):
        self.write(16, bytes(16))
        answer, text = self.fsck(0)
        self.assertEqual((answer["found"], answer["this_boot"]), ("earlier-boot", False))
        self.assertIn("makes a new one", text)

    def test_what_is_refused(self):
        self.write(8, (3).to_bytes(4, "little"))
        answer, text = self.fsck(1)
        self.assertEqual((answer["ok"], answer["reason"]), (False, "newer-layout"))
        self.assertIn("layout version 3", text)
        self.write(12, (7).to_bytes(4, "little"))
        self.assertEqual(self.fsck(1)[0]["reason"], "damaged")
        self.write(0, b"X")
        answer, text = self.fsck(1)
        self.assertEqual(answer["reason"], "no-state")
        self.assertIn("is no state file of pasidd", text)
        self.assertNotIn("Reboot", text)
        self.assertEqual(pasidctl("fsck", "/nonexistent/state").returncode, 4)
        self.assertEqual(pasidctl("fsck").returncode, 2)


if __name__ == "__main__":
    unittest.main()
