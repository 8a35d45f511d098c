"""A model of runs beyond one machine: a virtual clock, and the limiter's own arithmetic. See ``SCALE.md``.

``python tests/bench/scale_model.py`` prints its results. Machines share a provider's limits as those of a team do; each
hands its requests to workers as the client of a cluster does, by exchanges that gather what there is.
"""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from llmkit.limiter import Use, portion
from llmkit.limiter.pace import Limits, PaceState, next_start, start
from llmkit.limiter.portions import limits_of, without_burst
from llmkit.limiter.provider_queue import SHORTEST_REST

PER_PROBE, PER_EXCHANGE, PER_REQUEST = 0.00075, 0.0015, 0.00035
"""Seconds of CPU: of the client for a probe, and for an exchange with a worker; of the worker for a request."""
GATHER, BEAT = 0.003, 1.0
"""Seconds that what is sent waits for company for each worker, and between two agreements of machines about a limit."""
Event = Callable[[], None]


class Core:
    """A processor, which does one thing after the other; and what gathers there for an exchange."""

    def __init__(self, study: Study) -> None:
        self.study, self.free_at, self.used = study, 0.0, 0.0

    def then(self, seconds: float, happens: Event) -> None:
        """Compute so long when there is time, then go on."""
        self.free_at, self.used = max(self.free_at, self.study.now) + seconds, self.used + seconds
        self.study.later(self.free_at - self.study.now, happens)

    def exchange(self, gathered: deque[Event], happens: Event) -> None:
        """Go on with the next exchange, which takes all that has gathered by then."""

        def deliver() -> None:
            for _ in range(len(gathered)):
                gathered.popleft()()

        gathered.append(happens)
        if len(gathered) == 1:
            self.study.later(GATHER * self.study.workers, lambda: self.then(PER_EXCHANGE, deliver))


class Machine:
    """Asks one provider, with a portion of its limits, by the workers of a cluster."""

    def __init__(self, study: Study, name: str) -> None:
        self.study, self.name, self.in_flight, self.answered = study, name, 0, 0
        self.state, self.looks_at, self.client = PaceState(), 0.0, Core(study)
        self.workers = itertools.cycle([(Core(study), deque()) for _ in range(study.workers)])
        self.slots = 0 if study.machines > 1 else study.limits.max_parallel
        study.later(study.chance.uniform(0, BEAT), self.agree if study.machines > 1 else self.look)

    def agree(self) -> None:
        """Take the portion that there is, as a member of a team does at each beat."""
        study, before = self.study, self.slots
        others = {name: use for name, use in study.uses.items() if name != self.name}
        self.slots = portion(study.limits.max_parallel, self.name, others, study.now)
        study.uses[self.name] = Use(self.slots, self.in_flight)
        if self.slots and not before:
            self.state = without_burst(self.state, study.now)
        study.later(BEAT, self.agree)
        self.look()

    def look(self) -> None:
        """Let through whoever may go, as the gate does."""
        study = self.study
        while self.slots > self.in_flight:
            limits = limits_of(study.limits, self.slots)
            if wait := next_start(self.state, limits, study.now)[0]:
                wait = max(wait, SHORTEST_REST)
                if not study.now < self.looks_at <= study.now + wait:
                    self.looks_at = study.now + wait
                    study.later(wait, self.look)
                return
            self.state = start(self.state, limits, study.now)
            self.in_flight += 1
            study.starts.append(study.now)
            self.client.then(PER_PROBE / 2, self.send)

    def send(self) -> None:
        """To a worker, to the provider, to the worker, back."""
        (core, gathered), client, study = next(self.workers), self.client, self.study
        latency = study.latency * study.chance.lognormvariate(0, 0.5)

        def leave() -> None:
            self.in_flight, self.answered = self.in_flight - 1, self.answered + 1
            self.look()

        def answer() -> None:
            client.exchange(gathered, lambda: client.then(PER_PROBE / 2, leave))

        def ask() -> None:
            study.later(latency, lambda: core.then(PER_REQUEST / 2, answer))

        client.exchange(gathered, lambda: core.then(PER_REQUEST / 2, ask))


class Study:
    """Machines that ask one provider without end, each by so many workers; ``latency`` is the median in seconds."""

    def __init__(self, limits: Limits, latency: float, workers: int, machines: int) -> None:
        self.limits, self.latency, self.workers, self.machines = limits, latency, workers, machines
        self.now, self._order, self._next = 1_000_000.0, itertools.count(), list[tuple[float, int, Event]]()
        self.chance, self.uses, self.starts = random.Random(5), dict[str, Use](), list[float]()
        self.members = [Machine(self, f"machine{number:03}") for number in range(machines)]

    def later(self, seconds: float, happens: Event) -> None:
        """Have something happen then."""
        heapq.heappush(self._next, (self.now + seconds, next(self._order), happens))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._next[0][0] <= end:
            self.now, _, happens = heapq.heappop(self._next)
            happens()

    def show(self, name: str, warm: float, seconds: float) -> None:
        """Print answers a second, what was used of the limit, the most in 60 s, and the clients' CPU."""
        figures = []
        for each in (warm, seconds):
            self.run(each)
            sums = zip(*((member.answered, member.client.used) for member in self.members), strict=True)
            figures.append((*map(sum, sums), len(self.starts)))
        answers, used, starts = (after - before for before, after in zip(*figures, strict=True))
        allowed = self.limits.requests_per_minute / 60
        most = max(place + 1 - bisect_right(self.starts, at - 60) for place, at in enumerate(self.starts))
        rates = f"{answers / seconds:9.1f} {starts / seconds / allowed:9.1%} {most / allowed / 60:9.1%}"
        print(f"{name:38} {rates} {used / seconds / self.machines:9.0%}")


def main() -> None:
    """All results."""
    print(f"{'':38} answers/s      used most/60s     CPU")
    for workers, at in [(2, 100), (2, 1_000), (10, 1_000), (100, 1_000), (1_000, 1_000), (1_000, 10_000)]:
        Study(Limits(at, 10**9), 1.0, workers, 1).show(f"{workers:,} workers, {at:,} at a time", 10, 20)
    for limits, machines in itertools.product((Limits(10, 600), Limits(1_000, 60_000)), (1, 2, 4, 8, 16)):
        Study(limits, 0.4, 2, machines).show(f"{machines} machines, {limits.requests_per_minute:,} a minute", 60, 120)


if __name__ == "__main__":
    main()
