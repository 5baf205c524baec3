# SPDX-License-Identifier: MIT
"""Processes that die: at every step of every operation, in crowds, and where nobody can see their numbers."""

import contextlib
import ctypes
import os
import signal

from pasid_client import Client, Refused, host, pb

from .attack import attack, to_server

CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def life(ground, step):
    """The life of a virtual machine. Calls step() before and after each thing that it sends or receives."""

    def call(foe, operation, **fields):
        request = foe.request(operation, **fields)
        step()
        foe.send(request)
        step()
        return foe.result(request.id)

    step()
    foe = Client(ground.place.socket, hello=False)
    call(foe, "hello", version_min=1, version_max=1)
    call(foe, "set_create", name=ground.name())
    device = call(foe, "device_slice", address=ground.place.shared).device_slice.id
    step()
    foe.map_memory(device)
    runs = call(foe, "allocate", count=8, data=7).allocate.runs
    first, second = [run.first + i for run in runs for i in range(run.count)][:2]
    pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
    call(foe, "bind", pasid=host(first), pairs=pairs)
    batch = [foe.request("allocate") for _ in range(100)]
    batch += [foe.request("bind", pasid=host(second), pairs=pairs), foe.request("unbind", pasid=host(first))]
    data = to_server(*batch)
    step()
    foe.send_raw(data)
    step()
    foe.wait(batch[50].id)
    step()
    call(foe, "guest_attach", host_pasid=first, guest_pasid=4)
    call(foe, "unbind", pasid=host(second))
    call(foe, "memory_unmap", device=device, space=1, iova=0, length=1 << 16)
    call(foe, "free", all=True)
    call(foe, "device_remove", device=device)
    call(foe, "set_destroy", force=True)
    step()
    return foe


def steps(ground):
    """How many steps a life has, found by living one."""
    count = [0]

    def step():
        count[0] += 1

    life(ground, step).close()
    return count[0]


def spawn(action):
    """A process that does something and is then gone in silence."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            action()
        os._exit(0)
    return pid


@attack
def death_at_every_step(ground):
    """A process is killed before and after each thing that it sends, in order, then at random."""
    total = []

    def mortal(at):
        left = [at]

        def step():
            left[0] -= 1
            if left[0] < 0:
                die()

        life(ground, step)

    def round_():
        total[:] = total or [steps(ground)]
        for at in ground.rng.sample(range(total[0]), total[0]):
            os.waitpid(spawn(lambda at=at: mortal(at)), 0)
            ground.counts["deaths"] += 1
            if ground.over():
                return

    if ground.place.shared:
        ground.repeat(round_)


@attack
def death_at_any_time(ground):
    """Many lives at the same time, each killed from outside at some moment."""

    def round_():
        pids = [spawn(lambda: life(ground, lambda: None)) for _ in range(6)]
        for pid in pids:
            ground.rest(ground.rng.uniform(0, 0.02))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            ground.counts["deaths"] += 1

    if ground.place.shared:
        ground.repeat(round_)


@attack
def death_of_a_heavy_one(ground):
    """Who dies has a thousand numbers, replies unread, work under way, and a copy of its connection elsewhere."""

    def heavy():
        foe = Client(ground.place.socket)
        foe.create(ground.name(), pasids=1024)
        foe.allocate(count=1000)
        device = foe.call("device_slice", address=ground.place.shared).device_slice.id
        foe.map_memory(device)
        numbers = foe.allocate(count=20)
        pairs = [pb.BindPair(device=device, table=pb.Table(space=1))]
        foe.call("watch")
        foe.send(*(foe.request("bind", pasid=host(n), pairs=pairs) for n in numbers),
                 *(foe.request("grant_list", limit=512) for _ in range(50)))
        if os.fork() == 0:
            signal.alarm(2)
            signal.pause()
        die()

    def round_():
        os.waitpid(spawn(heavy), 0)
        ground.counts["deaths"] += 1
        ground.rest(0.02)

    if ground.place.shared:
        ground.repeat(round_)


@attack
def unseen_processes(ground):
    """Peers in a namespace of their own, whose process numbers mean nothing to the daemon: served, and mourned."""
    libc = ctypes.CDLL(None, use_errno=True)

    def hidden():
        # A process cannot move itself into a namespace of processes, only its children.
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0:
            os._exit(7)
        pid = os.fork()
        if pid == 0:
            try:
                with contextlib.closing(Client(ground.place.socket)) as foe:
                    foe.create(ground.name())
                    foe.allocate(count=3)
                    if ground.rng.random() < 0.5:
                        die()
            except (Refused, OSError):
                pass
            os._exit(0)
        os.waitpid(pid, 0)
        os._exit(0)

    def round_():
        _, status = os.waitpid(spawn(hidden), 0)
        ground.counts["deaths" if os.waitstatus_to_exitcode(status) == 0 else "no namespace"] += 1
        ground.rest(0.002)

    ground.repeat(round_)


@attack
def fork_storm(ground):
    """Forks that connect all at once and end all at once."""

    def child():
        foe = Client(ground.place.socket)
        foe.create(ground.name())
        foe.allocate(count=2)
        signal.alarm(2)
        signal.pause()

    def round_():
        pids = [spawn(child) for _ in range(30)]
        ground.rest(ground.rng.uniform(0.01, 0.1))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
            ground.counts["deaths"] += 1

    ground.repeat(round_)
