"""The soak: mixed calls for a long time, with faults at random; and what the server holds meanwhile."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import median

from support.callers import Caller, request
from support.server import Held

from .environment import Environment, Pace, Trial
from .faults import client, daemons, servers
from .findings import TROUBLE, Findings, evaluate, look
from .traffic import Traffic

__all__ = ["Soaked", "growth", "soak"]

_CALLERS = 8
_CALLS_ON_AN_IMAGE = 60
_CALLS_A_SECOND = 2.0  # of one caller, at the most
_LONGEST_PAUSE_SECONDS = 1.0
_SAMPLE_SECONDS = 2.0
_HEAL_SECONDS = 5.0
_PATIENCE_SECONDS = 60.0
_MAY_GROW = 1.25
_SHOWN_CHARACTERS = 2000

_FAULTS = (
    *(scenario for scenario in daemons.SCENARIOS if "timeouts" not in scenario.name),
    *client.SCENARIOS[:3],
    *(scenario for scenario in servers.SCENARIOS if "worker" in scenario.name),
)

# What a call of each other kind is answered, unless the cluster is in trouble.
_ALWAYS: Mapping[str, str] = {"again": "SNAPSHOT_EXISTS", "no image": "IMAGE_NOT_FOUND", "no name": "INVALID_NAME"}


@dataclass(frozen=True)
class Soaked:
    """What a soak showed. ``heals`` has the seconds to heal after each fault, by the fault's name."""

    findings: Findings
    calls: int
    heals: list[tuple[str, float | None]]
    held: list[Held]


class _Mixed(Traffic):
    """Creates with long and with short deadlines, creates of what exists, and calls that cannot succeed."""

    def __init__(self, seed: int, images: list[str]) -> None:
        super().__init__()
        self.others: list[tuple[str, str | None]] = []  # kinds of calls, and the reasons that they were answered
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._images = images
        self._calls = Counter[str]()

    async def _keep_calling(self, call: Caller, image: str, done: threading.Event) -> None:
        place = self._images.index(image)
        while not done.is_set():
            self._calls[image] += 1
            rounds = self._calls[image] // _CALLS_ON_AN_IMAGE
            await self._one(call, self._images[(place + rounds * _CALLERS // 2) % len(self._images)])
            await asyncio.sleep(self._random.uniform(0, _LONGEST_PAUSE_SECONDS))

    async def _one(self, call: Caller, image: str) -> None:
        kind = self._random.choice(["fresh", "fresh", "fresh", "short", *_ALWAYS])
        existing = next((each for each in reversed(self.records) if each.image == image and each.is_ok), None)
        pool, _, name = image.partition("/")
        if kind == "short":
            await self._call(call, image, self._random.uniform(0.005, 0.5))
        elif kind == "fresh" or (kind == "again" and existing is None):
            await self._call(call, image)
        else:
            asked = {
                "again": lambda: request(name, existing.snapshot if existing else "", pool=pool),
                "no image": lambda: request("none", "s", pool=pool),
                "no name": lambda: request(name, "a@b", pool=pool),
            }[kind]()
            answer = await call(asked, _PATIENCE_SECONDS)
            self.others.append((kind, answer.reason or answer.code))


def soak(environment: Environment, seed: int, seconds: float, say: Callable[[float], None]) -> Soaked:
    """Soak for so many seconds. ``say`` is told how many have passed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    images = environment.new_images(_CALLERS // 2 * (2 + int(seconds * _CALLS_A_SECOND / _CALLS_ON_AN_IMAGE)))
    traffic = _Mixed(seed, images)
    quiet_image, witness = environment.new_images(2)
    trial = Trial(environment, images, quiet_image, witness, traffic)
    heals: list[tuple[str, float | None]] = []
    with _sampled(environment) as held, traffic.on(environment.server, images[: _CALLERS // 2], _CALLERS):
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            fault = chance.choice(_FAULTS)
            pace = Pace(calm=1.0, frozen=chance.uniform(1, 10), down=chance.uniform(0.5, 5))
            try:
                fault.fault(replace(trial, environment=replace(environment, pace=pace)))
            except AssertionError as error:
                trial.wrong.append(f"{fault.name}: {error}")
            environment.tools.rbd("snap", "create", "--no-progress", f"{trial.witness}@{len(heals)}")
            heals.append((fault.name, traffic.first_success(environment.server, trial.quiet_image, _PATIENCE_SECONDS)))
            time.sleep(chance.uniform(1, 15))
            say(min(time.monotonic() - started, seconds))
    soaked = _soaked(environment, traffic, heals, held)
    soaked.findings.wrong.extend(trial.wrong)
    return soaked


@contextmanager
def _sampled(environment: Environment) -> Iterator[list[Held]]:
    """Look now and then at what the server holds."""
    held: list[Held] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            with suppress(OSError):  # a worker ended meanwhile
                held.append(Held.by(environment.server))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield held
    finally:
        done.set()
        sampler.join()


def _soaked(
    environment: Environment, traffic: _Mixed, heals: list[tuple[str, float | None]], held: list[Held]
) -> Soaked:
    looked = look(environment.tools, {record.image for record in traffic.records})
    brings = {"NOT_STARTED", *(reason for scenario in _FAULTS for reason in scenario.brings)}
    findings = evaluate(traffic.records, looked, (), brings)
    for kind, reason in traffic.others:
        findings.outcomes[str(reason)] += 1
        if reason != _ALWAYS[kind] and reason not in TROUBLE | brings:
            findings.wrong.append(f"a call of the kind {kind!r} was answered {reason}")
    for name, heal in heals:
        if heal is None or heal > _HEAL_SECONDS:
            findings.wrong.append(f"after {name!r} it healed in {heal} s, not within {_HEAL_SECONDS:g}")
    for what, (before, after) in growth(held).items():
        if after > _MAY_GROW * before:
            findings.wrong.append(f"{what} grew from {before:,.0f} to {after:,.0f}")
    _, traceback, text = environment.server.log.read_text().partition("Traceback")
    if traceback:
        findings.wrong.append(f"in the server's log: {traceback}{text[:_SHOWN_CHARACTERS]}")
    return Soaked(findings, len(traffic.records) + len(traffic.others), heals, held)


def growth(held: Sequence[Held]) -> dict[str, tuple[float, float]]:
    """Give what the server held in the second fifth of the time, and in the last."""
    fifth = max(1, len(held) // 5)
    early, late = held[fifth : 2 * fifth] or held, held[-fifth:]

    def at(part: Sequence[Held], name: str) -> float:
        return float(median(getattr(each, name) for each in part))

    names = ("threads", "descriptors", "resident_bytes")
    return {name.replace("_", " "): (at(early, name), at(late, name)) for name in names}
