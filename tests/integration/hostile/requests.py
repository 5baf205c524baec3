# SPDX-License-Identifier: MIT
"""Requests that are well-formed and must not be granted: absurd, out of turn, or about what is somebody else's."""

import contextlib
import os

from pasid_client import Client, Refused, eventually, guest, host, pb, set_ref

from .attack import attack

MANY = ((1 << 20), (1 << 31), (1 << 32) - 1)
LAST = (1 << 64) - 1


@attack
def absurd_numbers(ground):
    """Counts, ranges, quotas and limits that make no sense: each is refused and changes nothing."""
    wrong = {"bad-argument", "bad-range", "too-large", "none-free", "set-quota", "pasid-zero", "malformed"}
    cases = [("allocate", {"count": n}) for n in (4097, *MANY)]
    cases += [("allocate", {"count": n, "consecutive": True}) for n in (3, 1000, 2048, *MANY)]
    cases += [("allocate", {"min": low, "max": high}) for low, high in ((2, 1), ((1 << 20) - 1, 1024), (0, 0))]
    cases += [("allocate", {"min": n}) for n in MANY]
    cases += [("allocate", {"min": 1024, "max": 1030, "count": 8}), ("allocate", {"max": 0})]
    cases += [("allocate", {"count": 2, "guest_pasid": 77}), ("allocate", {"guest_pasid": 1 << 20})]
    cases += [("allocate", {"devices": [1 << 63] * 33})]
    cases += [("free", {}), ("free", {"pasids": [pb.PasidRef()]}), ("free", {"pasids": [host(1024)], "all": True})]
    cases += [("free", {"pasids": [host(n)]}) for n in (0, *MANY)]
    cases += [("free", {"pasids": [host(1)] * 4097})]
    cases += [("guest_attach", {"host_pasid": n, "guest_pasid": n}) for n in MANY]
    cases += [("guest_find", {"guest_pasid": n}) for n in MANY]
    cases += [("data_set", {"pasid": pb.PasidRef(), "data": 1}), ("bind", {}), ("bind", {"pasid": host(1)})]
    cases += [("unbind", {"pasid": host(0)}), ("unbind", {}), ("rid_attach", {}), ("rid_detach", {}), ("replace", {})]
    cases += [("set_adjust", {"pasids": n}) for n in (0, 1, *MANY)]
    cases += [("device_slice", {}), ("device_slice", {"address": "nowhere"}), ("device_slice", {"address": "x" * 65})]
    cases += [("memory_unmap", {"device": 1, "space": 99, "iova": LAST, "length": LAST})]
    cases += [("set_list", {"limit": 513, "after": LAST}), ("grant_list", {"limit": MANY[2], "after": LAST})]
    harmless = {"set_list", "grant_list", "device_list", "binding_list"}  # a large limit or cursor is no crime
    wrong |= {"no-device", "no-pasid", "guest-pasid-unknown", "quota-below-use", "role-not-allowed", "not-bound"}
    wrong |= {"table-unknown", "guest-pasid-taken", "user-quota", "policy-denies", "not-mapped"}

    def round_():
        with contextlib.closing(ground.machine(pasids=100)) as foe:
            foe.allocate(count=3)
            for operation, fields in ground.rng.sample(cases, len(cases)):
                if operation in harmless:
                    with contextlib.suppress(Refused):
                        foe.call(operation, **fields)
                elif operation == "set_adjust" and ground.place.is_admin:
                    continue
                else:
                    ground.refused(foe, wrong, operation, **fields)
                if ground.over():
                    break
            assert foe.call("set_get").set_get.active == 3, "something that was refused has been done"

    ground.repeat(round_)


@attack
def what_is_others(ground):
    """The numbers, sets, devices and bindings of others look like those that do not exist."""
    foreign = ground.place.foreign

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            own = foe.allocate()[0]
            for name in foreign.get("names", ()):
                for reference in (set_ref(name), set_ref(ground.rng.choice(foreign["sets"]))):
                    foreign_set(ground, foe, reference, own)
            for number in foreign.get("pasids", ()):
                foreign_number(ground, foe, number)
            for device in foreign.get("devices", ()):
                foreign_device(ground, foe, device, own)
            listed = foe.pages("grant_list", "grants", quarantined=True)
            assert {grant.host_pasid for grant in listed} <= {own}, listed
            assert len(foe.pages("set_list", "sets")) == 1

    ground.repeat(round_)


def foreign_set(ground, foe, reference, own):
    for operation, fields in (
        ("set_get", {}), ("set_destroy", {"force": True}), ("set_adjust", {"pasids": 1}), ("allocate", {}),
        ("free", {"all": True}), ("guest_find", {"guest_pasid": 1}), ("guest_attach", {"host_pasid": own, "guest_pasid": 9}),
        ("unbind", {"pasid": host(own)}), ("data_set", {"pasid": host(own), "data": 1}),
        ("device_slice", {"address": ground.place.shared or "0000:00:01.0"}),
    ):
        ground.refused(foe, {"no-set"}, operation, set=reference, **fields)
    # A list of a set that one may not see is what it is of a set that does not exist.
    nobody = pb.SetRef(name="nobody") if reference.name else pb.SetRef(id=(1 << 62) + 1)
    for operation in ("grant_list", "device_list", "binding_list"):
        answers = [listed(foe, operation, key) for key in (reference, nobody)]
        assert answers[0] == answers[1], f"{operation}: {answers}"


def listed(foe, operation, reference):
    """What is in it, or why there is none."""
    try:
        return getattr(foe.call(operation, set=reference), operation).SerializeToString()
    except Refused as refusal:
        return refusal.reason


def foreign_number(ground, foe, number):
    """Refused in the words for a number that is nobody's."""
    other = ground.refused(foe, {"no-pasid"}, "host_find", host_pasid=number)
    nobody = ground.refused(foe, {"no-pasid"}, "host_find", host_pasid=(1 << 20) - 2)
    if "no-pasid" == other.reason == nobody.reason:
        assert other.message.replace(str(number), "N") == nobody.message.replace(str((1 << 20) - 2), "N"), other
    ground.refused(foe, {"no-pasid"}, "free", pasids=[host(number)])
    ground.refused(foe, {"no-pasid"}, "data_set", pasid=host(number), data=666)
    ground.refused(foe, {"no-pasid"}, "guest_attach", host_pasid=number, guest_pasid=8)
    ground.refused(foe, {"no-pasid", "not-bound"}, "unbind", pasid=host(number))
    ground.refused(foe, {"none-free"}, "allocate", min=number, max=number)
    ground.refused(foe, {"role-not-allowed"}, "quarantine_end", host_pasid=number)


def foreign_device(ground, foe, device, own):
    pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
    ground.refused(foe, {"no-device"}, "bind", pasid=host(own), pairs=pairs)
    ground.refused(foe, {"no-device"}, "unbind", pasid=host(own), devices=[device])
    ground.refused(foe, {"no-device"}, "device_remove", device=device)
    ground.refused(foe, {"no-device"}, "rid_attach", pair=pairs[0])
    ground.refused(foe, {"no-device"}, "rid_detach", device=device)
    ground.refused(foe, {"no-device"}, "replace", pair=pairs[0])
    ground.refused(foe, {"no-device"}, "replace", pasid=host(own), pair=pairs[0])
    ground.refused(foe, {"no-device"}, "memory_unmap", device=device, space=1, iova=0, length=4096)
    ground.refused(foe, {"no-device"}, "allocate", devices=[device])
    ground.refused(foe, {"no-device"}, "device_slice", device=device)
    ground.refused(foe, {"role-not-allowed"}, "device_drained", device=device)


@attack
def guessed_objects(ground):
    """Ids near one's own, and the same slot in other generations."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            own = foe.call("set_get").set_get.id
            ids = {own + n for n in range(-8, 9)} | {own ^ 1 << bit for bit in range(64)} | {LAST}
            for number in ids - {own, 0}:
                ground.refused(foe, {"no-set"}, "set_get", set=pb.SetRef(id=number & LAST))
                ground.refused(foe, {"no-device"}, "device_remove", device=number & LAST)
                if ground.over():
                    break

    ground.repeat(round_)


@attack
def guessed_tokens(ground):
    """Tokens of all lengths, and one's own with a bit changed."""

    def round_():
        with contextlib.closing(ground.foe()) as owner, contextlib.closing(ground.foe(hello=False)) as foe:
            token = owner.welcome.resume_token
            flipped = bytearray(token)
            flipped[ground.rng.randrange(len(token))] ^= 1 << ground.rng.randrange(8)
            wrong = {"resume-token-unknown", "malformed", "too-large"}
            for guess in (b"", b"\0", token[:-1], token + b"\0", bytes(flipped), bytes(len(token)), os.urandom(16),
                          os.urandom(64), os.urandom(4096)):
                try:
                    ground.refused(foe, wrong, "hello", version_min=1, version_max=1, resume_token=guess)
                except Refused:
                    raise
            owner.call("ping")

    ground.repeat(round_)


@attack
def out_of_turn(ground):
    """Everything before hello; hello twice; versions, features and roles that there are not."""

    def round_():
        with contextlib.closing(ground.foe(hello=False)) as foe:
            for operation in ("set_create", "allocate", "get_status", "watch", "set_list", "bind", "device_share"):
                ground.refused(foe, {"hello-first"}, operation)
            ground.refused(foe, {"version-not-supported"}, "hello", version_min=2, version_max=9)
            ground.refused(foe, {"version-not-supported", "bad-argument"}, "hello", version_min=1, version_max=0)
            ground.refused(foe, {"feature-not-supported"}, "hello", version_min=1, version_max=1,
                           required_features=["events", "levitation"])
            if not ground.place.is_admin:
                for role in (pb.ROLE_ADMIN, pb.ROLE_OBSERVER, pb.ROLE_PARTICIPANT):
                    ground.refused(foe, {"role-not-allowed"}, "hello", version_min=1, version_max=1, role=role)
            foe.call("hello", version_min=1, version_max=1)
            ground.refused(foe, {"hello-twice"}, "hello", version_min=1, version_max=1)
            ground.refused(foe, {"no-set"}, "allocate")
            foe.create(ground.name())
            ground.refused(foe, {"set-exists"}, "set_create", name=ground.name())
            for operation in ("quarantine_end", "device_share", "device_drained"):
                ground.refused(foe, {"role-not-allowed"}, operation)

    ground.repeat(round_)


@attack
def request_ids(ground):
    """Ids that come again with other content, fall, lie below the window, or are none."""

    def refused_id(foe, reason, request, seen_below=None):
        if seen_below is not None:
            foe.seen_below = seen_below
        foe.send(request)
        try:
            foe.result(request.id)
        except Refused as refusal:
            assert refusal.reason in reason, f"{refusal}, expected {reason}"
            return
        raise AssertionError(f"{request} was done, expected {reason}")

    def round_():
        with contextlib.closing(ground.machine(pasids=1000)) as foe:
            request = foe.request("allocate", data=1)
            foe.send(request)
            first = foe.result(request.id)
            for field in ("data", "count", "min", "guest_pasid"):
                other = pb.Request()
                other.CopyFrom(request)
                setattr(other.allocate, field, 2000)
                refused_id(foe, {"request-id-reused"}, other)
            refused_id(foe, {"request-id-reused"}, foe.request("free", request_id=request.id, all=True))
            foe.send(request, request, request)  # the same thrice in a datagram
            again = []
            while len(again) < 3:
                again.extend(foe.receive().replies)
            assert again == [first] * 3, f"{again}, was {first}"
            foe.replies.clear()
            for number in (0, LAST):
                with contextlib.suppress(Refused):
                    foe.send(foe.request("allocate", request_id=number))
                    foe.receive()
                    raise AssertionError(f"a request with the id {number} was done")
            refused_id(foe, {"request-id-below-window"}, request, foe.next_id)
            foe.next_id = ground.rng.choice((foe.next_id, 1 << 32, 1 << 62))
            high = foe.request("allocate")
            foe.send(high)
            foe.result(high.id)
            foe.seen_below = LAST - 1
            foe.call("ping")
            refused_id(foe, {"request-id-below-window"}, foe.request("allocate", request_id=5))
            active = foe.call("set_get", request_id=LAST - 1).set_get.active
            assert active == 2, f"{active} numbers instead of two"

    ground.repeat(round_)


@attack
def deadlines(ground):
    """No time at all and all the time of the world, for what needs hardware, and asking again and again."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            device = foe.call("device_slice", address=ground.place.shared).device_slice.id
            foe.map_memory(device)
            number = foe.allocate(guest_pasid=3)[0]
            while not ground.over():
                pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
                bind = foe.request("bind", pasid=host(number), pairs=pairs, deadline_ms=0)
                insist(ground, foe, bind)
                unbind = foe.request("unbind", pasid=guest(3), deadline_ms=(1 << 32) - 1)
                insist(ground, foe, unbind)
                foe.seen_below = foe.next_id

    if ground.place.shared:
        ground.repeat(round_)


def insist(ground, foe, request):
    """The same request in bursts until its final reply is there; after that it is always the same."""

    def final():
        foe.send(*[request] * ground.rng.choice((1, 2, 30)))
        reply = foe.wait(request.id)
        foe.call("ping")
        foe.drain()
        foe.patient()
        return reply if reply.status.code != pb.PENDING else None

    reply = eventually(final)
    assert reply, f"no final reply to {request}"
    again = final()
    assert again == reply, f"{reply}, then {again}"


@attack
def sessions_of_others(ground):
    """Two connections of one session, each of which thinks it is the one."""

    def round_():
        with contextlib.closing(ground.machine()) as first:
            token = first.welcome.resume_token
            with contextlib.closing(Client(ground.place.socket, resume=token)) as second:
                first.closed()
                second.allocate()
                with contextlib.closing(Client(ground.place.socket, resume=token)) as third:
                    second.closed()
                    assert third.call("set_get").set_get.active == 1
                    third.call("set_destroy", force=True)

    ground.repeat(round_)
