"""Faults to inject, what they do to a response, and when: by chance, by a rule, or by a script."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes
from llmkit.simulator.questions import fraction
from llmkit.simulator.stats import Outcome, Received

KINDS: Mapping[str, str] = {
    # answered with the provider's own error; nothing is billed
    "rate_limit": "429, wait and try again",
    "quota": "the account's money or daily quota has run out",
    "auth": "the key is not accepted",
    "server_error": "500",
    "overloaded": "503, or Anthropic's 529",
    "too_long": "the conversation does not fit into the model's context",
    "not_found": "the model is unknown",
    "error_200": "an error in the body of a 200",
    "blocked": "the prompt is blocked by a safety filter (Gemini bills the input)",
    # no answer; nothing is billed
    "timeout": "never answers",
    "disconnect_before": "the connection is cut before the answer",
    # billed, and no usable answer arrives
    "disconnect": "the connection is cut after the answer was billed",
    "cut": "the connection is cut in the middle of the answer",
    "garbage": "200 with a page of HTML",
    "truncated": "200 with JSON that ends in the middle",
    "empty": "an answer without text",
    "refusal": "the model declines (Mistral in prose, the others in a separate field)",
    "malformed_json": "the text is not JSON although JSON was asked for",
    # billed, and a usable answer arrives
    "slow": "the answer takes longer",
    "too_few": "lists in a structured answer are shorter than asked for",
    "duplicates": "lists in a structured answer repeat their first entry",
    # in a batch only; nothing is billed
    "expired": "the batch ends before this was answered",
    # chosen by the caller
    "raw": "the status, headers and body of the Fault",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault. Wherever one is expected, its ``kind`` alone is enough; ``None`` is no fault.

    ``retry_after`` is the wait in seconds that a ``rate_limit`` asks for (``None``: none). ``seconds`` is how much
    longer ``slow`` takes. ``headers`` are added to the response, overriding the provider's own.
    ``status`` and ``body`` are those of ``raw``.

    Raises:
        ValidationError: the kind is not one of ``KINDS``.
    """

    kind: str | None
    retry_after: float | None = 1.0
    seconds: float = 1.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise ValidationError(f"There is no fault {self.kind!r}. Known: {known}.", field="faults")


NO_FAULT = Fault(kind=None)
# with these, or no fault, the whole answer is delivered with a text
USABLE = frozenset({None, "raw", "slow", "malformed_json", "too_few", "duplicates"})
# faults of a connection or of its whole response, which cannot occur in a batch
OF_CONNECTIONS = frozenset(
    {"error_200", "timeout", "disconnect_before", "disconnect", "cut", "garbage", "truncated", "raw"}
)
_GARBAGE = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"
Chance = float | Sequence[bool] | Callable[[Received], bool]
Chances = Mapping[str, Chance]
FaultLike = str | Fault | None


class Faults:
    """Decides which fault, if any, a provider's next request meets.

    A script takes precedence, followed by the first kind whose rule applies: a sequence of booleans (one per request,
    in the order of arrival at the provider), or a function of the request. Probabilities come last, using one random
    number that depends on the seed, the provider and the position of the request.
    """

    def __init__(self, chances: Mapping[str, Chance | Chances] | None, *, seed: int) -> None:
        self._seed = seed
        self.clear()
        self.set(chances)

    def clear(self) -> None:
        """Forget the scripts and the number of requests; the chances stay."""
        self._scripts = defaultdict[str, deque[Fault]](deque)
        self._drawn = Counter[str]()

    def set(self, chances: Mapping[str, Chance | Chances] | None) -> None:
        """Replace the chances: kind → chance for every provider, or provider → (kind → chance) for one."""
        if chances is not None and not isinstance(chances, Mapping):
            raise ValidationError("faults is a dict such as {'rate_limit': 0.1}, or None.", field="faults")
        given = chances or {}
        common = {kind: chance for kind, chance in given.items() if not isinstance(chance, Mapping)}
        special = {name: _checked(common | dict(own)) for name, own in given.items() if isinstance(own, Mapping)}
        self._common, self._special = _checked(common), special

    def script(self, provider: str, faults: Iterable[FaultLike]) -> None:
        """Append faults for the provider's next requests to its script, one each; ``None`` is no fault."""
        listed = shapes.several(faults, "faults", "a list such as ['rate_limit', None]")
        self._scripts[provider] += [each if isinstance(each, Fault) else Fault(kind=each) for each in listed]

    def draw(self, received: Received) -> Fault:
        """The fault for this request; each call counts as one request of its provider."""
        provider = received.provider
        place = self._drawn[provider]
        self._drawn[provider] += 1
        if script := self._scripts[provider]:
            return script.popleft()
        luck = fraction(self._seed, "fault", provider, place)
        for kind, chance in self._special.get(provider, self._common).items():
            if callable(chance):
                applies = chance(received)
            elif isinstance(chance, Sequence):
                applies = place < len(chance) and chance[place]
            else:
                luck -= chance
                applies = luck < 0
            if applies:
                return Fault(kind=kind)
        return NO_FAULT


def _checked(chances: Chances) -> Chances:
    """The chances, probabilities last."""
    numbers = {kind: chance for kind, chance in chances.items() if isinstance(chance, int | float)}
    for kind, chance in chances.items():
        Fault(kind=kind)
        if kind not in numbers and (isinstance(chance, str) or not (isinstance(chance, Sequence) or callable(chance))):
            raise ValidationError(
                f"The chance of {kind!r} is a probability, a list of True and False, or a function.", field="faults"
            )
    if any(not 0 <= chance <= 1 for chance in numbers.values()) or sum(numbers.values()) > 1 + 1e-9:
        raise ValidationError(
            f"Probabilities of faults lie between 0 and 1 and add up to at most 1, not {[*numbers.values()]}.",
            field="faults",
        )
    return {kind: chance for kind, chance in chances.items() if kind not in numbers} | numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A response. The connection is cut after ``cut_after`` bytes of the body; ``None``: it is not."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    cut_after: int | None = None


def damaged(delivery: Delivery, kind: str | None) -> Delivery:
    """Apply a fault to a delivery."""
    half = len(delivery.body) // 2
    damages: Mapping[str | None, Mapping[str, Any]] = {
        "disconnect": {"cut_after": 0},
        "cut": {"cut_after": half},
        "truncated": {"body": delivery.body[:half]},
        "garbage": {"body": _GARBAGE, "headers": {**delivery.headers, "content-type": "text/html"}},
    }
    return replace(delivery, **damages.get(kind, {}))


def outcome(status: int | None, fault: str | None) -> Outcome:
    """How a request with this status and fault is counted."""
    if status == 429:
        return "rejected"
    return "ok" if status is not None and 200 <= status < 300 and fault in USABLE else "failed"
