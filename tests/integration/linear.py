# SPDX-License-Identifier: MIT
"""Is what several clients saw what one after the other could have seen? A checker, and the plain model that it asks.

A history is a list of `Op`: what was asked, when, and what came when. It is linearizable when each operation can be given
one moment between the two at which it happened as a whole. The search goes through the returns in the order of time and
keeps all configurations that are possible so far: a state of the model, and which of the operations under way have had
their moment (Wing and Gong's search as Lowe has it: an operation gets its moment no earlier than a return asks for). What
never returned has its moment at any time after its call, or none.
"""

import dataclasses
import itertools
import typing

NEVER = float("inf")
UNKNOWN = object()  # the result of what never returned


@dataclasses.dataclass(eq=False)
class Op:
    """One operation. Those of one client with the same `order` happen in the order in which it called them."""

    client: object
    name: str
    args: dict
    call: float
    back: float = NEVER
    result: object = UNKNOWN
    order: object = None
    after: typing.Optional["Op"] = None  # the one before it in that order

    def __str__(self):
        words = " ".join(f"{key}={value}" for key, value in self.args.items())
        result = "?" if self.result is UNKNOWN else self.result
        return f"client {self.client}: {self.name} {words} -> {result}  [{self.call} {self.back}]"


class NotLinearizable(Exception):
    """`op` returned, and there is no moment at which it, and all before it, can have happened."""

    def __init__(self, op, under_way, states):
        lines = [f"nothing explains {op}", "under way with it:", *(f"  {other}" for other in under_way if other is not op)]
        lines += ["possible before:", *(f"  {state}" for state in itertools.islice(states, 8))]
        super().__init__("\n".join(lines))
        self.op = op


class TooHard(Exception):
    """More configurations than anybody wants to look at."""


def chain(history):
    """Fills in `after`."""
    last = {}
    for op in sorted(history, key=lambda op: op.call):
        if op.order is not None:
            op.after = last.get((op.client, op.order))
            last[op.client, op.order] = op


class Search:
    def __init__(self, model, history, most=200_000):
        self.model, self.most = model, most
        chain(history)
        self.events = sorted(
            [(op.call, 0, n, op) for n, op in enumerate(history)]
            + [(op.back, 1, n, op) for n, op in enumerate(history) if op.back != NEVER]
        )
        self.open = {}  # by identity, in the order of their calls
        self.looked = 0

    def ready(self, op, done):
        before = op.after
        return before is None or id(before) in done or id(before) not in self.open

    def settle(self, state, done):
        """What changes nothing, and sees what it saw, may as well have its moment now: it hinders nothing. (A change that
        would change nothing now may have to come later, when it does.)"""
        again = True
        while again:
            again = False
            for key, op in self.open.items():
                if key not in done and self.model.looks(op) and self.ready(op, done):
                    if self.model.step(state, op):
                        done = done | {key}
                        again = True
        return state, done

    def reach(self, configurations, wanted):
        """All configurations in which `wanted` has had its moment, and nothing after it that need not have."""
        found, seen = set(), set(configurations)
        left = list(configurations)
        while left:
            state, done = left.pop()
            if id(wanted) in done:
                found.add((state, done))
                continue
            for key, op in self.open.items():
                if key in done or not self.ready(op, done):
                    continue
                for after in self.model.step(state, op):
                    configuration = self.settle(after, done | {key})
                    if configuration not in seen:
                        seen.add(configuration)
                        left.append(configuration)
            self.looked += 1
            if self.looked > self.most:
                raise TooHard(f"{self.looked} configurations at {wanted}")
        return found

    def run(self):
        configurations = {(self.model.first, frozenset())}
        for _, is_return, _, op in self.events:
            if not is_return:
                self.open[id(op)] = op
                configurations = {self.settle(*configuration) for configuration in configurations}
                continue
            found = self.reach(configurations, op)
            if not found:
                raise NotLinearizable(op, list(self.open.values()), {state for state, _ in configurations})
            del self.open[id(op)]
            configurations = {self.settle(state, done - {id(op)}) for state, done in found}
        return self.looked


def check(model, history):
    """Raises NotLinearizable, or TooHard; returns how many configurations were looked at."""
    return Search(model, history).run()


# ---------------------------------------------------------------- the model

IDLE = None  # of a number: nobody has it; else (set, guest, data), or (set, RESTING)
RESTING = "resting"


class Numbers:
    """Numbers of a small range, and sets that are granted them; nothing rests but until an admin ends it.

    A state is (numbers, quotas). step() is all that may come of an operation: with a result, in the states that
    explain it; without one, whatever it may have done.
    """

    def __init__(self, first, count, quotas):
        self.range = range(first, first + count)
        self.sets = list(quotas)
        self.first = ((IDLE,) * count, tuple(quotas.values()))

    def step(self, state, op):
        return getattr(self, op.name)(*state, op.result, **op.args)

    @staticmethod
    def looks(op):
        """It told something, and changed nothing in whatever state it had its moment."""
        if op.result is UNKNOWN:
            return False
        return isinstance(op.result, str) or op.name in ("host_find", "guest_find", "set_get")

    # -- what a state says

    def at(self, numbers, host):
        return numbers[host - self.range.start]

    def put(self, numbers, changes):
        changed = list(numbers)
        for host, value in changes.items():
            changed[host - self.range.start] = value
        return tuple(changed)

    def quota(self, quotas, name):
        return quotas[self.sets.index(name)]

    @staticmethod
    def used(numbers, name):
        return sum(number is not IDLE and number[0] == name for number in numbers)

    @staticmethod
    def is_active(number):
        return number is not IDLE and number[1] is not RESTING

    def guests(self, numbers, name):
        """{guest: host}"""
        pairs = zip(self.range, numbers)
        return {n[1]: host for host, n in pairs if self.is_active(n) and n[0] == name and n[1] is not IDLE}

    @staticmethod
    def outcome(state, result, refusals, done):
        """The state as it is where the refusal that came has its reason; else the states of `done`."""
        if result is UNKNOWN:
            return [state] if refusals else [after for _, after in done()]
        if isinstance(result, str):
            return [state] if result in refusals else []
        return [] if refusals else [after for told, after in done() if told == result]

    # -- operations; a refusal is its reason, a string

    def allocate(self, numbers, quotas, result, set, low, high, count, guest=None, data=0):
        state = (numbers, quotas)
        free = [host for host in range(low, high + 1) if self.at(numbers, host) is IDLE]
        refusals = []
        if len(free) < count:
            refusals.append("none-free")
        if self.used(numbers, set) + count > self.quota(quotas, set):
            refusals.append("set-quota")
        if guest is not None and guest in self.guests(numbers, set):
            refusals.append("guest-pasid-taken")

        def done():
            told = [tuple(result)] if isinstance(result, tuple) else itertools.combinations(free, count)
            for hosts in told:
                if len(hosts) == count and len({*hosts}) == count and {*hosts} <= {*free}:
                    yield hosts, (self.put(numbers, {host: (set, guest, data) for host in hosts}), quotas)

        return self.outcome(state, result, refusals, done)

    def free(self, numbers, quotas, result, set, hosts):
        mine = [self.at(numbers, host) is not IDLE and self.at(numbers, host)[0] == set for host in hosts]
        active = [host for host in hosts if self.is_active(self.at(numbers, host))]

        def done():
            yield (len(active), len(hosts) - len(active)), (self.put(numbers, {h: (set, RESTING) for h in active}), quotas)

        return self.outcome((numbers, quotas), result, [] if all(mine) else ["no-pasid"], done)

    def why_not(self, numbers, set, host):
        number = self.at(numbers, host)
        if number is IDLE or number[0] != set:
            return ["no-pasid"]
        return [] if self.is_active(number) else ["not-active"]

    def guest_attach(self, numbers, quotas, result, set, host, guest):
        refusals = self.why_not(numbers, set, host)
        if guest in self.guests(numbers, set) or (not refusals and self.at(numbers, host)[1] is not IDLE):
            refusals = [*refusals, "guest-pasid-taken"]

        def done():
            yield (), (self.put(numbers, {host: (set, guest, self.at(numbers, host)[2])}), quotas)

        return self.outcome((numbers, quotas), result, refusals, done)

    def guest_detach(self, numbers, quotas, result, set, guest):
        host = self.guests(numbers, set).get(guest)

        def done():
            yield (), (self.put(numbers, {host: (set, None, self.at(numbers, host)[2])}), quotas)

        return self.outcome((numbers, quotas), result, ["guest-pasid-unknown"] if host is None else [], done)

    def guest_find(self, numbers, quotas, result, set, guest):
        host = self.guests(numbers, set).get(guest)
        return self.outcome(
            (numbers, quotas), result, ["guest-pasid-unknown"] if host is None else [], lambda: [(host, (numbers, quotas))]
        )

    def host_find(self, numbers, quotas, result, host, set=None):
        """`set`: whose VMM asks; without one, an admin."""
        number = self.at(numbers, host)
        refusals = ["no-pasid"] if set is not None and (number is IDLE or number[0] != set) else []
        return self.outcome((numbers, quotas), result, refusals, lambda: [(number, (numbers, quotas))])

    def data_set(self, numbers, quotas, result, set, host, data):
        refusals = self.why_not(numbers, set, host)

        def done():
            yield (), (self.put(numbers, {host: (*self.at(numbers, host)[:2], data)}), quotas)

        return self.outcome((numbers, quotas), result, refusals, done)

    def quarantine_end(self, numbers, quotas, result, host):
        number = self.at(numbers, host)
        resting = number is not IDLE and not self.is_active(number)
        return self.outcome(
            (numbers, quotas), result, [] if resting else ["not-active"],
            lambda: [((), (self.put(numbers, {host: IDLE}), quotas))],
        )

    def set_adjust(self, numbers, quotas, result, set, quota):
        used = self.used(numbers, set)

        def done():
            changed = list(quotas)
            changed[self.sets.index(set)] = quota
            yield (quota, used), (numbers, tuple(changed))

        return self.outcome((numbers, quotas), result, ["quota-below-use"] if used > quota else [], done)

    def set_get(self, numbers, quotas, result, set):
        used = self.used(numbers, set)
        active = sum(self.is_active(n) and n[0] == set for n in numbers)
        return self.outcome(
            (numbers, quotas), result, [], lambda: [((self.quota(quotas, set), used, active), (numbers, quotas))]
        )
