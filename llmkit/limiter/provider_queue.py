"""The waiting requests to one provider in this process, with one timer that checks the shared file for all of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from llmkit.limiter.adaptive import Adaptive
from llmkit.limiter.admission import Admission
from llmkit.limiter.minute import BUCKET
from llmkit.limiter.pace import Limits, PaceState, headroom, next_start, observe, pause, sent, start
from llmkit.limiter.pace_file import PROVIDER, Clock, PaceFile
from llmkit.limiter.portions import Portions, limits_of, without_burst
from llmkit.limiter.slots import NO_SHARE, Share, may_take, with_share
from llmkit.limiter.waiters import Queue, Waiter
from llmkit.limiter.waits import GLANCE, GLANCE_FOR_FILE, GLANCE_FOR_SLOT, PORTION, SLOT, Block, Blocks
from llmkit.records import RateInfo

log = logging.getLogger("llmkit.limiter")
SHORTEST_REST = 0.0005  # timers are no finer


@dataclass(eq=False, slots=True)
class Track:
    """The limits of the provider, or of a model with its own, and this process's share of the slots, now and as last
    written.
    """

    name: str
    whole: Limits
    slots: int | None = None
    share: Share = NO_SHARE
    written: Share = NO_SHARE

    @property
    def limits(self) -> Limits:
        """The portion of the ``whole`` that corresponds to ``slots``; ``None``: all of it."""
        return self.whole if self.slots is None else limits_of(self.whole, self.slots)


class ProviderQueue:
    """The waiting requests to one provider, and its limits.

    An admission is decided atomically under the lock of the provider's file, so that nothing is held while waiting: no
    slot, no start, no tokens. Every arrival and departure schedules a check, which all of one iteration of the event
    loop share. Used from one event loop at a time.
    """

    def __init__(self, directory: Path, provider: str, clock: Clock, portions: Portions | None) -> None:
        self._name, self._portions = provider, portions
        self._clock = clock
        self._lock = threading.RLock()
        self._file = PaceFile(directory, provider, clock)
        self._provider = Track(PROVIDER, Limits(1, 60), self._slots(provider))
        self._models: dict[str, Track] = {}
        self._queue = Queue()
        self._flying: dict[Admission, list[Track]] = {}
        self._adaptive = Adaptive()
        self._blocks = Blocks()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._looking = False
        self._timer: asyncio.TimerHandle | None = None

    # --- from any thread ---

    @property
    def limits(self) -> Limits:
        """The provider's limits; until they are set, one request at a time and 60 per minute."""
        return self._provider.limits

    def set_limits(self, limits: Limits, models: Mapping[str, Limits] = MappingProxyType({})) -> None:
        """Set the provider's limits, and those of models (by reference) that have their own, with immediate effect.

        When a limit is lowered, requests in flight continue, and fewer follow.
        """
        with self._lock:
            self._provider.whole, self._provider.slots = limits, self._slots(self._name)
            for model in self._models.keys() - models.keys():
                del self._models[model]
                self._file.later(model, lambda state: state.without(self._file.me))
            for model, own in models.items():
                track = self._models.setdefault(model, Track(model, own))
                track.whole, track.slots = own, self._slots(model)
            self._look_soon()

    def share(self, portions: Portions) -> None:
        """Use these portions of the limits, with immediate effect."""
        with self._lock:
            self._portions = portions
            for track in (self._provider, *self._models.values()):
                before, track.slots = track.slots, self._slots(track.name or self._name)
                if track.slots and not before and track.slots < track.whole.max_parallel:
                    self._file.later(track.name, partial(without_burst, now=self._clock()))
            self._look_soon()

    def uses(self) -> dict[str, tuple[int, int]]:
        """For each limit in use or wanted here, the number of parallel requests allowed, and in flight."""
        with self._lock:
            wanted = {waiter.model for waiter in self._queue}
            tracks = {name: track for name, track in self._models.items() if track.share.in_flight or name in wanted}
            if wanted or self._flying:
                tracks[self._name] = self._provider
            return {name: (track.whole.max_parallel, track.share.in_flight) for name, track in tracks.items()}

    def _slots(self, name: str) -> int | None:
        return None if self._portions is None else self._portions.slots.get(name, 0)

    def pause(self, seconds: float) -> bool:
        """Admit nothing for ``seconds``, then one request, and the rest when that was served.

        Returns False, and changes nothing, during a pause.
        """
        begun = True

        def transition(state: PaceState) -> PaceState:
            nonlocal begun
            after = pause(state, self._clock(), seconds)
            begun = after is not state
            return after

        with self._lock:
            self._file.change(PROVIDER, transition)
            self._look_soon()
        return begun

    def observe(self, info: RateInfo, *, model: str, sent_at: float) -> None:
        """Process the rate-limit headers of a response of ``model``, to slow down before its allowance is used up;
        ``sent_at`` is the ``started_at`` of the answered request.
        """
        with self._lock:
            since = sum(other.started_at > sent_at for other in self._flying if other.model == model)
            self._file.later(model, partial(observe, info=info, now=self._clock(), sent_at=sent_at, since=since))

    def waiting(self) -> Block | None:
        """What requests are waiting for; ``None`` when none is waiting."""
        with self._lock:
            return (self._blocks.any() or Block(SLOT)) if self._queue else None

    def close(self) -> None:
        """Close the files, unless a request in flight holds its slot; they are reopened when needed."""
        with self._lock:
            if not self._flying:
                self._file.close()

    # --- arrival and departure ---

    async def enter(self, waiter: Waiter) -> Admission:
        """Wait for the waiter's turn."""
        with self._lock:
            if self._loop is not (loop := asyncio.get_running_loop()):
                self._loop, self._thread = loop, threading.get_ident()
                self._looking, self._timer = False, None
            waiter.before = self._blocks.waited(waiter.model, self._clock())
            self._queue.add(waiter)
            self._look_soon()
        try:
            return await waiter.turn
        except BaseException:
            with self._lock:
                self._queue.remove(waiter)
                if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                    waiter.turn.result().waive()  # cancelled just after it was let in
                    self.leave(waiter.turn.result())
            raise

    def leave(self, admission: Admission) -> None:
        """Release what the admission holds, and admit the next one; without ``settle``, reservations count as used."""
        with self._lock:
            now = self._clock()
            for track in self._flying.pop(admission):
                track.share = track.share._replace(in_flight=track.share.in_flight - 1)
                self._file.later(track.name, partial(admission.ended, now=now))
            if admission.adaptive and admission.ok is False:
                self._adaptive = self._adaptive.refused()
            elif admission.adaptive and admission.ok:
                self._adaptive = self._adaptive.answered(now - admission.started_at, self.limits.max_parallel)
            self._look_soon()
        if admission.purse is not None:
            admission.purse.settle(None)

    def _sent(self, admission: Admission) -> None:
        with self._lock:
            before, now = admission.started_at, self._clock()
            admission.started_at = now
            if before // BUCKET != now // BUCKET:
                for track in self._flying[admission]:
                    self._file.later(track.name, partial(sent, now=now, started_at=before, tokens=admission.tokens))

    # --- looking ---

    def _look_soon(self) -> None:
        """Look in the next iteration of the event loop."""
        if self._looking or self._loop is None or self._loop.is_closed():
            return
        self._looking = True
        here = threading.get_ident() == self._thread
        (self._loop.call_soon if here else self._loop.call_soon_threadsafe)(self._look)

    def _look(self) -> None:
        """Admit everything that may start, and set the timer for the rest."""
        with self._lock:
            self._looking = False
            if not self._queue and not self._file.is_behind:
                return
            try:
                with self._file as now:
                    rest = GLANCE_FOR_FILE if now is None else self._let_in(now)
            except OSError as error:  # the directory is gone, or the disk full: fail all waiters
                log.warning("limits cannot be shared", extra={"reason": str(error)})
                for waiter in tuple(self._queue):
                    self._queue.remove(waiter)
                    if not waiter.turn.done():
                        waiter.turn.set_exception(error)
            else:
                if self._queue or self._file.is_behind:
                    self._look_in(max(rest, SHORTEST_REST))

    def _look_in(self, seconds: float) -> None:
        assert self._loop is not None
        now = self._loop.time()
        if self._timer is not None:
            if self._timer.when() <= now + seconds:  # an early look costs less than a timer per request
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(now + seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None  # its time may still lie ahead, by less than the clock's resolution
        self._look()

    def _let_in(self, now: float) -> float:
        """Admit everything that may start; return the seconds until the next look."""
        blocks: dict[str, Block] = {}
        for track in (self._provider, *self._models.values()):
            if track.share.wanted_at:
                track.share = track.share._replace(wanted_at=0.0)
        while PROVIDER not in blocks and (waiter := self._queue.turn(blocks)) is not None:
            if waiter.turn.done():  # cancelled
                self._queue.remove(waiter)
            elif (obstacle := self._obstacle(waiter, now)) is not None:
                name, block = obstacle
                blocks[name] = block
            else:
                self._admit(waiter, now)
        if (whole := blocks.get(PROVIDER)) is not None:
            blocks = {PROVIDER: whole}
        self._blocks.become(blocks, now)
        self._write_shares()
        return min((block.rest(now) for block in blocks.values()), default=GLANCE)

    def _obstacle(self, waiter: Waiter, now: float) -> tuple[str, Block] | None:
        """The provider or model that blocks a waiter, and why, if any."""
        own = self._models.get(waiter.model)
        if self._portions is not None and 0 in (self._provider.slots, own and own.slots):
            self._portions.need()
            return PROVIDER if self._provider.slots == 0 else waiter.model, Block(PORTION)
        state, model = self._file.get(PROVIDER), self._file.get(waiter.model)
        wait, reason = next_start(state, self.limits, now, waiter.tokens)
        if wait:
            return PROVIDER, Block(reason, now + wait)
        if waiter.adaptive and len(self._flying) >= int(self._adaptive.allowed):
            return PROVIDER, Block(SLOT)
        wait, reason = headroom(model.seen, now, waiter.tokens)
        if own is not None:
            wait, reason = max((wait, reason), next_start(model, own.limits, now, waiter.tokens))
        if wait:
            return waiter.model, Block(reason, now + wait)
        for track in (self._provider, own):
            if track is not None and (block := self._no_slot(track, now)) is not None:
                return track.name, block
        return None

    def _no_slot(self, track: Track, now: float) -> Block | None:
        state = self._file.get(track.name)
        rivals = {n: share for n, share in enumerate(state.shares) if n != self._file.me and share.is_active}
        taken = track.share.in_flight + sum(share.in_flight for share in rivals.values())
        if taken < track.limits.max_parallel and may_take(track.share, rivals.values(), now):
            return None
        if dead := [number for number in rivals if not self._file.is_alive(number)]:
            for number in dead:
                state = state.without(number)
            self._file.put(track.name, state)
            return self._no_slot(track, now)
        if not rivals:
            return Block(SLOT)
        track.share = track.share._replace(wanted_at=now)
        return Block(SLOT, glance=GLANCE_FOR_SLOT)

    def _admit(self, waiter: Waiter, now: float) -> None:
        own = self._models.get(waiter.model)
        tracks = [self._provider] if own is None else [self._provider, own]
        for track in tracks:
            track.share = track.share._replace(in_flight=track.share.in_flight + 1, started_at=now)
        for name, limits in ((PROVIDER, self.limits), (waiter.model, own.limits if own else None)):
            self._file.put(name, start(self._file.get(name), limits, now, waiter.tokens))
        waited = self._blocks.waited(waiter.model, now)
        waits = {reason: seconds - waiter.before.get(reason, 0.0) for reason, seconds in waited.items()}
        admission = Admission(
            model=waiter.model,
            started_at=now,
            tokens=waiter.tokens,
            waited_s=max(0.0, now - waiter.asked_at),
            waits={**waiter.waits, **{reason: seconds for reason, seconds in waits.items() if seconds > 0}},
            on_sent=self._sent,
            adaptive=waiter.adaptive,
        )
        self._flying[admission] = tracks
        self._queue.remove(waiter, served=True)
        waiter.turn.set_result(admission)

    def _write_shares(self) -> None:
        for track in (self._provider, *self._models.values()):
            if track.share != track.written:
                track.written, state = track.share, self._file.get(track.name)
                shares = with_share(state.shares, self._file.me, track.written)
                self._file.put(track.name, state._replace(shares=shares))
