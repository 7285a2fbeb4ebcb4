"""Made-up payment traffic, calm or with a drop whose cause is known.

Shaped like real traffic where that makes localisation hard:

- merchants and BINs follow Zipf's law, so most slices are small;
- attributes hang together: a BIN has one country and one brand, a merchant sells mostly at home, speaks one or two versions
  of the API, and its routing rule chooses the provider by method and region;
- success rates differ by every attribute and by some pairs of them;
- a day has a curve, by country; the mix of merchants and every rate wander from hour to hour without a fault;
- failed attempts are retried at once now and then and mostly fail again, so attempts are not independent.

The baseline is the day before, the window looked at an hour. A drop has one or two causes of one to three attributes
each. A cause turns each success within it into a failure with probability 15 to 90 % (its severity). One in five causes
does it with one error: that error is then one of its attributes. Otherwise the errors are the usual ones.

Detectable in principle: a cause is drawn again unless it turned at least `LOST_MIN` successes into failures, and at least
`LOST_DEVIATIONS` standard deviations of the failures that its slice had without it (where it has an error: of the failures
with that error). It is also drawn again when another slice of no more attributes, all of whose values its attempts share,
holds the same attempts give or take `ALIKE`: nobody could tell the two apart. Slices that merely overlap much stay in.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from interlock.core.desk.localisation.model import DIMENSIONS, Leaf, Where

LOST_MIN = 20
LOST_DEVIATIONS = 5.0
ALIKE = 0.1
OVERLAP_MAX = 0.3
"""Of the smaller of two causes' attempts."""
TWO_CAUSES = 0.4
"""Share of drops with two causes."""
ERROR_CAUSES = 0.2
SEVERITY = (0.15, 0.9)

KEPT = tuple(name for name in DIMENSIONS if name != "error")
"""The dimensions of an attempt before its outcome is known: those of a profile."""

METHODS = {"card": 0.72, "wallet": 0.14, "sepa_debit": 0.08, "bank_transfer": 0.06}
BRANDS = {"visa": 0.5, "mastercard": 0.34, "amex": 0.1, "cartes_bancaires": 0.06}
COUNTRIES = ("FR", "DE", "GB", "ES", "IT", "NL", "US", "BE", "PL", "SE", "PT", "AT")
REGION = {country: "south" if country in ("ES", "IT", "PT", "FR") else "north" for country in COUNTRIES}
PROVIDERS = ("acme", "bolt", "cora", "dune", "echo")
VERSIONS = ("2024-03", "2024-11", "2025-06", "2026-01", "2026-07")
ERRORS = (
    *("insufficient_funds", "do_not_honor", "authentication_failed", "expired_card", "timeout", "provider_error"),
    *("suspected_fraud", "limit_exceeded", "invalid_account"),
)
MERCHANTS = 90
BINS = 140
HOURS = 24


class Profile(NamedTuple):
    """Attributes of attempts before they succeed or fail, in the order of `KEPT`."""

    values: tuple[str | None, ...]
    log_odds: float
    """Of success."""


class Attempt(NamedTuple):
    profile: int
    error: str | None
    """None: it succeeded."""


class Case(NamedTuple):
    leaves: list[Leaf]
    truth: frozenset[Where]
    """Empty: calm."""
    lost: tuple[int, ...]
    """Successes turned into failures, for each cause."""


class World:
    """A platform with its merchants, rules and providers. Windows are drawn from it."""

    def __init__(self, seed: int, *, profiles_drawn: int = 14_000) -> None:
        self._random = random = Random(seed)
        self._bins = [_bin(random, i) for i in range(BINS)]
        self._bins_of = {country: [one for one in self._bins if one[1] == country] for country in COUNTRIES}
        self._merchants = [_merchant(random, i) for i in range(MERCHANTS)]
        drawn = Counter(self._drawn_attributes(random) for _ in range(profiles_drawn))
        self._attributes_of: dict[Attempt, tuple[str | None, ...]] = {}
        self._effects: dict[tuple[str, str | None], float] = {}
        self.profiles = [Profile(values, self._log_odds(values)) for values in drawn]
        self.weights = list(drawn.values())
        self.holding: dict[tuple[str, str], set[int]] = {}
        for number, profile in enumerate(self.profiles):
            for name, value in zip(KEPT, profile.values, strict=True):
                if value is not None:
                    self.holding.setdefault((name, value), set()).add(number)
        mixes = [_zipf_weights(len(ERRORS), 0.9) for _ in PROVIDERS]
        for mix in mixes:
            random.shuffle(mix)
        self._errors = {
            provider: list(itertools.accumulate(mix)) for provider, mix in zip(PROVIDERS, mixes, strict=True)
        }
        self._peaks = {country: random.gauss(14, 3) for country in COUNTRIES}

    def window(self, random: Random, *, attempts: int, hour: float, drift: float = 1.0) -> list[Attempt]:
        """About `attempts` attempts around an hour of the day, at rates that have wandered by `drift` times the usual."""
        at_work = {country: 1.15 + math.cos((hour - peak) * math.pi / 12) for country, peak in self._peaks.items()}
        sway: dict[tuple[str, str | None], float] = {}
        everywhere = random.gauss(0, 0.05 * drift)
        weights: list[float] = []
        odds: list[float] = []
        for profile, weight in zip(self.profiles, self.weights, strict=True):
            log_odds = profile.log_odds + everywhere
            for pair in zip(KEPT, profile.values, strict=True):
                if pair not in sway:
                    sway[pair] = random.gauss(0, _SWAY[pair[0]] * drift)
                log_odds += sway[pair]
            merchant = ("mix", profile.values[-1])
            if merchant not in sway:
                sway[merchant] = math.exp(random.gauss(0, 0.25 * drift))
            weights.append(weight * at_work[str(profile.values[3])] * sway[merchant])
            odds.append(1 / (1 + math.exp(-log_odds)))
        drawn = random.choices(range(len(weights)), cum_weights=list(itertools.accumulate(weights)), k=attempts)
        found: list[Attempt] = []
        for number in drawn:
            if random.random() < odds[number]:
                found.append(Attempt(number, None))
                continue
            found.append(Attempt(number, self.error(random, number)))
            while random.random() < 0.12:
                found.append(Attempt(number, found[-1].error))
        return found

    def baseline(self, random: Random, *, attempts: int) -> list[Attempt]:
        """A whole day, in eight parts that have each wandered."""
        parts = range(0, HOURS, 3)
        return [one for hour in parts for one in self.window(random, attempts=attempts // len(parts), hour=hour)]

    def error(self, random: Random, profile: int) -> str:
        """One of the usual ones at that profile's provider."""
        cumulative = self._errors[str(self.profiles[profile].values[0])]
        return ERRORS[bisect.bisect(cumulative, random.random() * cumulative[-1])]

    def attributes(self, attempt: Attempt) -> tuple[str | None, ...]:
        """In the order of `DIMENSIONS`."""
        if attempt not in self._attributes_of:
            values = self.profiles[attempt.profile].values
            at = DIMENSIONS.index("error")
            self._attributes_of[attempt] = (*values[:at], attempt.error, *values[at:])
        return self._attributes_of[attempt]

    def held_by(self, where: Where) -> set[int]:
        """The profiles of a slice; its error, if it has one, is no matter of theirs."""
        sets = [self.holding.get(pair, set()) for pair in where if pair[0] != "error"]
        return set.intersection(*sets) if sets else set(range(len(self.profiles)))

    def _drawn_attributes(self, random: Random) -> tuple[str | None, ...]:
        merchant = self._merchants[_zipf(random, MERCHANTS, 1.05)]
        method = _one_of(random, METHODS) if random.random() < 0.4 else merchant.method
        country = merchant.country if random.random() < 0.7 else COUNTRIES[_zipf(random, len(COUNTRIES), 0.8)]
        brand: str | None = None
        number: str | None = None
        if method in ("card", "wallet") and self._bins_of[country]:
            bins = self._bins_of[country]
            number, _, brand = bins[_zipf(random, len(bins), 0.9)]
        provider = merchant.rules[method, REGION[country]]
        if random.random() < 0.06:
            provider = random.choice(PROVIDERS)
        version = merchant.versions[0] if random.random() < 0.8 else merchant.versions[1]
        return (provider, method, brand, country, number, version, merchant.name)

    def _log_odds(self, values: tuple[str | None, ...]) -> float:
        named = list(zip(KEPT, values, strict=True))
        return (
            2.3
            + sum(self._effect(name, value) for name, value in named)
            + sum(
                self._effect(f"{one[0]} {other[0]}", f"{one[1]} {other[1]}")
                for one, other in itertools.combinations(named[:4], 2)
            )
        )

    def _effect(self, name: str, value: str | None) -> float:
        if (name, value) not in self._effects:
            spread = 0.12 if " " in name else _SPREAD[name]
            self._effects[name, value] = self._random.gauss(0, spread)
        return self._effects[name, value]


class _Merchant(NamedTuple):
    name: str
    country: str
    method: str
    versions: tuple[str, str]
    rules: dict[tuple[str, str], str]


_SPREAD = {"provider": 0.2, "method": 0.3, "brand": 0.15, "country": 0.25, "bin": 0.4, "version": 0.1, "merchant": 0.4}
_SWAY = {
    "provider": 0.06,
    "method": 0.05,
    "brand": 0.04,
    "country": 0.08,
    "bin": 0.15,
    "version": 0.03,
    "merchant": 0.15,
}


def _bin(random: Random, i: int) -> tuple[str, str, str]:
    country = COUNTRIES[i % len(COUNTRIES)] if i < 3 * len(COUNTRIES) else COUNTRIES[_zipf(random, len(COUNTRIES), 0.8)]
    brand = _one_of(random, BRANDS)
    if brand == "cartes_bancaires":
        country = "FR"
    return str(400_000 + 37 * i), country, brand


def _merchant(random: Random, i: int) -> _Merchant:
    main, spare = random.sample(PROVIDERS, 2)
    rules = {(method, region): main for method in METHODS for region in ("north", "south")}
    for key in rules:
        if random.random() < 0.3:
            rules[key] = spare
    versions = tuple(random.sample(VERSIONS, 2))
    country = COUNTRIES[_zipf(random, len(COUNTRIES), 0.8)]
    return _Merchant(f"m{i:03}", country, _one_of(random, METHODS), (versions[0], versions[1]), rules)


def _zipf_weights(count: int, power: float) -> list[float]:
    return [1 / (rank + 1) ** power for rank in range(count)]


_CUMULATIVE: dict[tuple[int, float], list[float]] = {}


def _zipf(random: Random, count: int, power: float) -> int:
    key = (count, power)
    if key not in _CUMULATIVE:
        _CUMULATIVE[key] = list(itertools.accumulate(_zipf_weights(count, power)))
    return bisect.bisect(_CUMULATIVE[key], random.random() * _CUMULATIVE[key][-1])


def _one_of(random: Random, shares: dict[str, float]) -> str:
    return random.choices(list(shares), weights=list(shares.values()))[0]


def tallied(world: World, before: Counter[Attempt], now: Counter[Attempt]) -> list[Leaf]:
    """Leaves as the desk would read them: grouped by all attributes, the error among them."""
    leaves: list[Leaf] = []
    for attempt in before | now:
        attributes = world.attributes(attempt)
        totals = before[attempt], now[attempt]
        goods = totals if attempt.error is None else (0, 0)
        leaves.append(Leaf(attributes, totals[0], goods[0], totals[1], goods[1]))
    return leaves


class Size(NamedTuple):
    """How much traffic there is."""

    profiles_drawn: int = 14_000
    """Fewer: the same attempts share fewer combinations of attributes."""
    before: int = 40_000
    """Attempts in the day before."""
    now_min: int = 1_500
    now_max: int = 6_000
    """In the hour looked at."""


USUAL = Size()


class Stage:
    """One world and one day before, from which cases are drawn. The same seed gives the same cases."""

    def __init__(self, seed: int, size: Size = USUAL) -> None:
        self._random = Random(f"stage {seed}")
        self._size = size
        self.world = World(seed, profiles_drawn=size.profiles_drawn)
        self._before = Counter(self.world.baseline(self._random, attempts=size.before))

    def calm(self) -> Case:
        return Case(tallied(self.world, self._before, Counter(self._window())), frozenset(), ())

    def drop(self) -> Case:
        """One or two causes, each of them detectable in principle."""
        while True:
            now = self._window()
            causes: dict[Where, int] = {}
            wanted = 2 if self._random.random() < TWO_CAUSES else 1
            for _ in range(wanted):
                now, where, lost = self._broken(now, tuple(causes))
                if where:
                    causes[where] = lost
            if len(causes) == wanted:
                return Case(tallied(self.world, self._before, Counter(now)), frozenset(causes), tuple(causes.values()))

    def _window(self) -> list[Attempt]:
        attempts = round(math.exp(self._random.uniform(math.log(self._size.now_min), math.log(self._size.now_max))))
        return self.world.window(self._random, attempts=attempts, hour=self._random.uniform(0, HOURS))

    def _broken(self, now: Sequence[Attempt], others: tuple[Where, ...]) -> tuple[list[Attempt], Where, int]:
        """The window with one more cause in it. An empty cause: none could be found that would be detectable."""
        random = self._random
        size = random.choice((1, 2, 3))
        has_error = random.random() < ERROR_CAUSES
        by_profile = Counter(attempt.profile for attempt in now)
        taken = [self.world.held_by(other) for other in others]
        for _ in range(300):
            where = self._drawn(now, size, has_error)
            held = self.world.held_by(where) if where else set()
            if not held or not self._is_alone(where, held, taken, by_profile):
                continue
            broken, lost, usual = self._applied(now, where, held, random.uniform(*SEVERITY))
            if lost >= max(LOST_MIN, LOST_DEVIATIONS * math.sqrt(usual)):
                return broken, where, lost
        return list(now), (), 0

    def _drawn(self, now: Sequence[Attempt], size: int, has_error: bool) -> Where:
        random = self._random
        profile = self.world.profiles[random.choice(now).profile]
        kept = random.sample(range(len(KEPT)), size - has_error)
        pairs = [(KEPT[at], profile.values[at]) for at in kept]
        if has_error:
            pairs.append(("error", random.choice(ERRORS)))
        named = [(name, value) for name, value in pairs if value is not None]
        if len(named) < size:
            return ()
        return tuple(sorted(named, key=lambda pair: DIMENSIONS.index(pair[0])))

    def _is_alone(self, where: Where, held: set[int], taken: Sequence[set[int]], by_profile: Counter[int]) -> bool:
        """No slice that is as short holds much the same attempts, and no other cause does."""
        attempts = sum(by_profile[number] for number in held)
        if not attempts or any(
            sum(by_profile[number] for number in held & other)
            > OVERLAP_MAX * min(attempts, sum(by_profile[number] for number in other))
            for other in taken
        ):
            return False
        plain = [pair for pair in where if pair[0] != "error"]
        values = [self.world.profiles[number].values for number in held if by_profile[number]]
        shared = [
            (name, column[0])
            for name, column in zip(KEPT, zip(*values, strict=True), strict=True)
            if len(set(column)) == 1 and column[0] is not None
        ]
        for size in range(len(plain) + 1):
            for other in itertools.combinations(shared, size):
                if set(other) != set(plain):
                    wider = sum(by_profile[number] for number in self.world.held_by(other))
                    if wider < (1 + ALIKE) * attempts:
                        return False
        return True

    def _applied(
        self, now: Sequence[Attempt], where: Where, held: set[int], severity: float
    ) -> tuple[list[Attempt], int, int]:
        """The window after the fault, how many successes it cost, and the failures it is to be told from."""
        random = self._random
        error = dict(where).get("error")
        broken: list[Attempt] = []
        lost = usual = 0
        for attempt in now:
            if attempt.profile in held:
                if attempt.error is None and random.random() < severity:
                    attempt = Attempt(attempt.profile, error or self.world.error(random, attempt.profile))
                    lost += 1
                elif attempt.error is not None and error in (None, attempt.error):
                    usual += 1
            broken.append(attempt)
        return broken, lost, usual
