# SPDX-License-Identifier: MIT
"""Sets, numbers, devices and bindings: made and dropped in masses, and up to every limit."""

import contextlib

from pasid_client import Refused, guest, host, pb

from .attack import LOAD, attack

SPACE = 1 << 16


@attack
def sets_in_masses(ground):
    """Sets by the hundred, destroyed, or left to die with their sessions, empty or full."""

    def round_():
        foes = []
        try:
            for _ in range(ground.rng.choice((1, 10, 60))):
                foes.append(ground.machine(mode=ground.rng.choice((0, 1, 2, 3))))
                with contextlib.suppress(Refused):
                    foes[-1].allocate(count=ground.rng.choice((1, 64)))
                if ground.over():
                    break
            for foe in foes[::2]:
                foe.call("set_destroy", force=True)
        finally:
            for foe in foes:
                foe.close()

    ground.repeat(round_)


@attack
def churn(ground):
    """Takes and gives back without end: the quarantine fills its own quota, and that is what it is told."""

    def round_():
        with contextlib.closing(ground.machine(pasids=256)) as foe:
            refusal = None
            for _ in range(100):
                try:
                    foe.free(*foe.allocate(count=64))
                except Refused as error:
                    refusal = error
                    break
            if refusal is not None and refusal.reason not in LOAD - {"set-quota"}:
                assert refusal.reason == "set-quota", refusal
                assert refusal.status.limit.limit == 256 and "quarantine" in refusal.status.message, refusal
            info = foe.call("set_get").set_get
            assert info.pasids.current <= info.pasids.limit, info
            ground.rest(0.01)

    ground.repeat(round_)


@attack
def promises(ground):
    """Quotas: all that is left, more than there is, and up and down again."""

    def round_():
        foes = []
        try:
            for _ in range(20):
                foes.append(ground.machine(pasids=ground.rng.choice((0, 1, 65536))))
                foes[-1].call("set_adjust", pasids=1)
                if not ground.place.is_admin:
                    ground.refused(foes[-1], {"role-not-allowed", "set-quota", "policy-denies"}, "set_adjust",
                                   pasids=65536)
        finally:
            for foe in foes:
                foe.close()

    ground.repeat(round_)


@attack
def full_maps(ground):
    """Guest PASIDs as far apart as they can be, so that the map takes as much room as it can."""

    def round_():
        with contextlib.closing(ground.machine(pasids=2048)) as foe:
            for start in range(0, 1 << 20, 1 << 17):
                requests = [foe.request("allocate", guest_pasid=n) for n in range(start + 1, start + (1 << 17), 1 << 10)]
                foe.patient().send(*requests)
                taken = [foe.wait(request.id) for request in requests]
                foe.seen_below = foe.next_id
                if any(reply.HasField("status") for reply in taken) or ground.over():
                    break
            foe.call("free", all=True)

    ground.repeat(round_)


def own_device(ground, foe):
    """A registered device with memory: an exclusive one if none has it, else a slice."""
    for address in ground.rng.sample(ground.place.devices, len(ground.place.devices)):
        with contextlib.suppress(Refused), ground.device(address) as fds:
            return foe.call("device_add", fds=fds).device_add.id
    return foe.call("device_slice", address=ground.place.shared).device_slice.id


@attack
def devices_in_turn(ground):
    """Registers, maps, binds, unbinds, unmaps and removes, in every order, with many requests in one datagram."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            device = own_device(ground, foe)
            with contextlib.suppress(Refused):
                foe.map_memory(device)
            numbers = foe.allocate(count=4)
            pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
            while not ground.over():
                make = (
                    lambda n: foe.request("bind", pasid=host(n), pairs=pairs),
                    lambda n: foe.request("unbind", pasid=host(n)),
                    lambda n: foe.request("unbind", pasid=host(n), devices=[device]),
                    lambda n: foe.request("rid_attach", pair=pairs[0]),
                    lambda n: foe.request("rid_detach", device=device),
                    lambda n: foe.request("memory_unmap", device=device, space=1, iova=0, length=SPACE),
                    lambda n: foe.request("binding_list"),
                )
                requests = [ground.rng.choice(make)(ground.rng.choice(numbers)) for _ in range(30)]
                foe.patient().send(*requests)
                for request in requests:
                    reply = foe.wait(request.id)
                    assert reply.status.code != pb.INTERNAL, f"{request}: {reply}"
                foe.seen_below = foe.next_id
                if ground.rng.random() < 0.1:
                    break
            foe.call("unbind", pasid=host(numbers[0]))

    ground.repeat(lambda: tolerate(round_, "not-bound"))


def tolerate(action, *reasons):
    try:
        action()
    except Refused as refusal:
        if refusal.reason not in reasons:
            raise


@attack
def torn_down_meanwhile(ground):
    """A set is destroyed, or its process goes, while its hardware is busy with it."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            device = own_device(ground, foe)
            foe.map_memory(device)
            numbers = foe.allocate(count=20)
            pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
            requests = [foe.request("bind", pasid=host(n), pairs=pairs) for n in numbers]
            end = ground.rng.choice(("destroy", "remove", "free", "close"))
            if end == "destroy":
                requests.append(foe.request("set_destroy", force=True))
            elif end == "remove":
                requests += [foe.request("device_remove", device=device), foe.request("free", all=True)]
            elif end == "free":
                requests += [foe.request("free", all=True), foe.request("unbind", pasid=host(numbers[3]))]
            foe.patient().send(*requests)
            if end == "close":
                return
            for request in requests:
                reply = foe.wait(request.id)
                assert reply.status.code != pb.INTERNAL, f"{request}: {reply}"

    ground.repeat(round_)


@attack
def many_tables(ground):
    """Address spaces, mappings and bindings on a slice until something is refused, then all at once gone."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            device = foe.call("device_slice", address=ground.place.shared).device_slice.id
            for space in range(18):
                try:
                    foe.map_memory(device, space=space, length=4096)
                except Refused as refusal:
                    assert refusal.reason in LOAD | {"bad-argument", "bad-range"} or refusal.code == pb.HARDWARE, refusal
            numbers = foe.allocate(count=100)
            requests = [
                foe.request("bind", pasid=host(n),
                            pairs=[pb.BindPair(device=device, table=pb.Table(space=ground.rng.randrange(16)))])
                for n in numbers
            ]
            foe.patient().send(*requests)
            for request in requests:
                foe.wait(request.id)

    if ground.place.shared:
        ground.repeat(round_)


@attack
def too_much_under_way(ground):
    """More for the hardware to do than a session may ask for at once: refused for now, and the rest is done."""

    def round_():
        with contextlib.closing(ground.machine()) as foe:
            device = own_device(ground, foe)
            foe.map_memory(device)
            numbers = foe.allocate(count=250)
            for n, number in enumerate(numbers):
                foe.call("guest_attach", host_pasid=number, guest_pasid=n + 1)
                if ground.over():
                    return
            pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
            requests = [foe.request("bind", pasid=guest(n), pairs=pairs) for n in range(1, 251)]
            foe.patient().send(*requests)
            done = 0
            for request in requests:
                reply = foe.wait(request.id)
                done += not reply.HasField("status")
                if reply.HasField("status"):
                    assert reply.status.reason in LOAD or reply.status.code == pb.HARDWARE, reply
            assert done, "nothing was done"

    ground.repeat(round_)


@attack
def many_watches(ground):
    """A watch on each of many connections, each of which hears of little, and one that starts and stops."""

    def round_():
        foes = []
        try:
            for _ in range(40):
                foes.append(ground.machine())
                foes[-1].call("watch")
                if ground.over():
                    break
            for foe in foes:
                foe.free(*foe.allocate(count=8))
                foe.call("watch", stop=True)
                foe.call("watch")
        finally:
            for foe in foes:
                foe.close()

    ground.repeat(round_)
