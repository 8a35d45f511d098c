"""The waiting line of one provider in this process. One of those who wait leads: it alone looks at the shared files."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import anyio

from llmkit.limiter.adaptive import Adaptive
from llmkit.limiter.admission import Admission
from llmkit.limiter.pace import REQUESTS_PER_MINUTE, Limits, PaceState, headroom, next_start, observe, pause, start
from llmkit.limiter.shared_files import Clock, Held, PaceFile, Slot, Track
from llmkit.limiter.waiters import Queue, Waiter
from llmkit.limiter.waits import GLANCE, GLANCE_FOR_FILE, GLANCE_FOR_SLOT, SLOT, Block, Reasons, Wait
from llmkit.records import RateInfo

Sleep = Callable[[float], Awaitable[object]]

SHORTEST_REST = 0.0005  # timers are no finer


class ProviderQueue:
    """Those who wait for one provider, and what it allows.

    Everything about an admission is decided in one moment under the lock of the provider's file, so that nothing is
    held while waiting: no slot, no start, no tokens.
    """

    def __init__(self, directory: Path, provider: str, clock: Clock, sleep: Sleep) -> None:
        self._directory, self._clock, self._sleep = directory, clock, sleep
        self._lock = threading.RLock()
        self._queue = Queue()
        self._leader: Waiter | None = None
        self._stirred = False
        self._flying: list[Admission] = []
        self._adaptive = Adaptive()
        self._whole: Block | None = None
        self._blocked: dict[str, Block] = {}
        self._reasons: defaultdict[str, Reasons] = defaultdict(Reasons)  # by model; "" for the whole provider
        self._track = Track(directory, provider, Limits(1, 60), clock)
        self._models: dict[str, Track] = {}

    # --- limits ---

    @property
    def limits(self) -> Limits:
        """The provider's limits."""
        return self._track.limits

    def set_limits(self, limits: Limits, models: Mapping[str, Limits]) -> None:
        """New limits, in force at once."""
        with self._lock:
            self._track.limits = limits
            known, self._models = self._models, {}
            for model, own in models.items():
                track = known.pop(model, None) or Track(self._directory, model, own, self._clock)
                track.limits = own
                self._models[model] = track
            self._stir()

    def pause(self, seconds: float, reason: str) -> bool:
        """Let nobody through for ``seconds``; False when a pause is under way already."""
        begun = True

        def transition(state: PaceState) -> PaceState:
            nonlocal begun
            after = pause(state, self._clock(), seconds, reason)
            begun = after is not state
            return after

        with self._lock:
            self._track.pace.change(transition)
            self._stir()
        return begun

    def observe(self, info: RateInfo, model: str, sent_at: float | None) -> None:
        """Take in what a response says is left; by default it answers the request that is under way for longest."""
        with self._lock:
            now = self._clock()
            sent = sorted(flying.started_at for flying in self._flying if model in ("", flying.model))
            at = sent_at if sent_at is not None else sent[0] if sent else now
            since = sum(other > at for other in sent)
            self._track.pace.later(lambda state: observe(state, info, now, sent_at=at, since=since, model=model))

    def waiting(self) -> Wait | None:
        """What those who wait are waiting for; ``None`` when nobody waits."""
        with self._lock:
            if not self._queue:
                return None
            block = self._whole or next(iter(self._blocked.values()), Block(SLOT))
            return Wait(block.reason, block.until, len(self._queue), len(self._flying))

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        with self._lock:
            for track in (self._track, *self._models.values()):
                track.pace.close()

    # --- coming and going ---

    async def enter(self, waiter: Waiter) -> Admission:
        """Wait for the waiter's turn."""
        with self._lock:
            self._queue.add(waiter)
            self._leader = self._leader or waiter
            self._note(self._clock())
            waiter.before = self._waited(waiter.model)
            self._tell(waiter)
            if self._whole is None:
                self._stir()
        entered = False
        try:
            while waiter.admission is None:
                if self._leader is waiter:
                    rest = self._let_in()
                    if waiter.admission is None:
                        await self._rest(waiter, rest)
                else:
                    await waiter.awake.wait()
                    waiter.awake = anyio.Event()
            entered = True
            return waiter.admission
        finally:
            with self._lock:
                self._queue.remove(waiter)
                if self._leader is waiter:
                    self._leader = next(iter(self._queue), None)
                    if self._leader is not None:
                        self._leader.wake()
                if waiter.admission is not None and not entered:  # cancelled just after it was let in
                    waiter.admission.waive()
                    self.leave(waiter.admission)

    def leave(self, admission: Admission) -> None:
        """Give back what the admission holds, and let the next one in."""
        with self._lock:
            now = self._clock()
            self._flying.remove(admission)
            if admission.adaptive and admission.ok is not None:
                self._adaptive = (
                    self._adaptive.answered(now - admission.started_at, self.limits.max_parallel)
                    if admission.ok
                    else self._adaptive.refused()
                )
            admission.close(now)
            self._stir()

    async def _rest(self, waiter: Waiter, seconds: float) -> None:
        """Wait until it is worth looking again."""
        with anyio.CancelScope() as scope:
            with self._lock:
                waiter.resting = None if self._stirred else scope
            if waiter.resting is not None:
                await self._sleep(max(seconds, SHORTEST_REST))
        with self._lock:
            waiter.resting, self._stirred = None, False

    def _stir(self) -> None:
        """Make the leader look again now."""
        if self._leader is not None:
            self._stirred = True
            self._leader.stir()

    # --- deciding ---

    def _let_in(self) -> float:
        """Let in everybody who may; seconds until the next look."""
        with self._lock, self._track.pace.hold() as held:
            if held is None:
                return GLANCE_FOR_FILE
            now = self._clock()
            before = self._reasons_now()
            self._whole, self._blocked = None, {}
            while self._whole is None and (waiter := self._queue.turn(self._blocked)) is not None:
                self._consider(waiter, held, now)
            self._note(now)
            if before != self._reasons_now():
                for waiter in self._queue:
                    self._tell(waiter)
            blocks = [self._whole] if self._whole is not None else list(self._blocked.values())
            return min((block.rest(now) for block in blocks), default=GLANCE)

    def _consider(self, waiter: Waiter, held: Held, now: float) -> None:
        """Let one waiter in, or note what blocks its provider or its model."""
        wait, reason = next_start(held.state, self.limits, now, waiter.tokens)
        if wait:
            self._whole = Block(reason, now + wait)
            return
        if waiter.adaptive and len(self._flying) >= int(self._adaptive.allowed):
            self._whole = Block(SLOT)
            return
        tracks = [(self._track, held)]
        with ExitStack() as stack:
            if (own := self._models.get(waiter.model)) is not None:
                own_held = stack.enter_context(own.pace.hold())
                if own_held is None:
                    self._blocked[waiter.model] = Block(REQUESTS_PER_MINUTE, glance=GLANCE_FOR_FILE)
                    return
                wait, reason = next_start(own_held.state, own.limits, now, waiter.tokens)
                tracks.insert(0, (own, own_held))
            wait, reason = max((wait, reason), headroom(held.state, waiter.model, now, waiter.tokens))
            if wait:
                self._blocked[waiter.model] = Block(reason, now + wait)
                return
            slots = self._take_slots(waiter, tracks)
            if slots is None:
                return
            for track, its in tracks:
                its.state = start(its.state, track.limits, now, waiter.tokens, waiter.model)
        self._admit(waiter, slots, now)

    def _take_slots(self, waiter: Waiter, tracks: list[tuple[Track, Held]]) -> list[tuple[PaceFile, Slot]] | None:
        slots: list[tuple[PaceFile, Slot]] = []
        for track, held in tracks:
            slot, most = track.slots.take(track.limits.max_parallel, held.state.slots)
            if most != held.state.slots:
                held.state = replace(held.state, slots=most)
            if slot is None:
                for _, taken in slots:
                    taken.release()
                all_mine = len(track.slots) >= track.limits.max_parallel
                block = Block(SLOT, glance=GLANCE if all_mine else GLANCE_FOR_SLOT)
                if track is self._track:
                    self._whole = block
                else:
                    self._blocked[waiter.model] = block
                return None
            slots.append((track.pace, slot))
        return slots

    def _admit(self, waiter: Waiter, slots: list[tuple[PaceFile, Slot]], now: float) -> None:
        self._note(now)
        waiter.admission = Admission(
            model=waiter.model,
            started_at=now,
            tokens=waiter.tokens,
            waited_s=max(0.0, now - waiter.asked_at),
            waits=waiter.waits + self._waited(waiter.model) - waiter.before,
            slots=slots,
            clock=self._clock,
            adaptive=waiter.adaptive,
        )
        self._flying.append(waiter.admission)
        self._queue.remove(waiter, served=True)
        waiter.wake()

    # --- telling ---

    def _reasons_now(self) -> tuple[str, dict[str, str]]:
        blocked = {model: block.reason for model, block in self._blocked.items()}
        return (self._whole.reason if self._whole else ""), blocked

    def _tell(self, waiter: Waiter) -> None:
        block = self._whole or self._blocked.get(waiter.model)
        if block is not None and waiter.on_wait is not None:
            waiter.on_wait(block.reason, block.until)

    def _note(self, now: float) -> None:
        """Count the time since the last look to what the provider and each model were waiting for."""
        self._reasons[""].note(self._whole, now)
        for model in {*self._reasons, *self._blocked} - {""}:
            self._reasons[model].note(None if self._whole else self._blocked.get(model), now)

    def _waited(self, model: str) -> Counter[str]:
        return self._reasons[""].seconds + self._reasons[model].seconds
