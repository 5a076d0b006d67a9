"""Whether the time of a refusal tells how wrong a key was: ``python -m tests.benchmarks.key_timing [--count N]``.

Each class of wrong key is verified as often as every other, in a random order, from the head of its request to the
decision. Two classes differ if Welch's t of their times exceeds 4.5, the threshold of dudect (Reparaz, Balasch and
Verbauwhede, 2017). Times over the 95th percentile of all are left out: what interrupted us is not what is measured.

Keys of another length are held to 50 us alone: to copy more or fewer bytes takes some nanoseconds more or less, and
whoever sends a key knows its length; that of a good one is no secret.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from deploy.local_key import new_key
from gateway.dataplane.credentials import NO_PEER, Credentials
from gateway.decide.api_keys import BASE62, checksum, sha256_hex
from gateway.decide.identity import identify
from gateway.decide.tables import Tables
from model_pod.wire.http1 import RequestHead
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Tier
from policies.snapshot.mesh import Mesh
from policies.snapshot.tenant import Key, Tenant

COUNT = 200_000
WORST_T = 4.5
MOST_APART_S = 50e-6
_KEPT = 0.95
_AT_ONCE = 500
_OTHER_LENGTHS = ("too short", "too long")
_TENANTS = 1_000
_WALL_S = 1_800_000_000.0


def policy(keys: Sequence[str]) -> Snapshot:
    """Return a policy with one tenant per key."""
    tenants = {
        f"t{number}": Tenant(f"t{number}", "us", "gold", (Key(f"k{number}", sha256_hex(key), ("infer",)),), ("*",))
        for number, key in enumerate(keys)
    }
    return Snapshot(1, "d", Mesh("m"), tiers={"gold": Tier("gold")}, tenants=tenants)


def wrong_keys(good: str) -> dict[str, Callable[[], str]]:
    """Return how to make a wrong key of each class."""

    def mended(body: str) -> str:
        return f"{body}_{checksum(body)}"

    other = new_key
    scheme, public_id, secret, _ = good.split("_")
    return {
        "nothing right": lambda: "xyz_" + other()[4:],
        "another key, right checksum": other,
        "half of a good one": lambda: mended(good[: len(good) // 2] + other()[len(good) // 2 : -7]),
        "a good one but for one character": lambda: mended(_with_a_typo(good[:-7], random.randrange(17, 60))),
        "unknown id, right secret": lambda: mended(f"{scheme}_{other().split('_')[1]}_{secret}"),
        "right id, unknown secret": lambda: mended(f"{scheme}_{public_id}_{other().split('_')[2]}"),
        "wrong checksum": lambda: good[:-6] + other()[-6:],
        "too short": lambda: other()[:40],
        "too long": lambda: other() + other(),
    }


def _with_a_typo(body: str, at: int) -> str:
    return body[:at] + random.choice(BASE62.replace(body[at], "")) + body[at + 1 :]


def measure(count: int, draws: random.Random) -> dict[str, list[float]]:
    """Return the seconds that each refusal took, by class."""
    keys = [new_key() for _ in range(_TENANTS)]
    tables, credentials = Tables(policy(keys)), Credentials(())
    classes = wrong_keys(keys[_TENANTS // 2])
    taken_s: dict[str, list[float]] = {name: [] for name in classes}
    for _ in range(max(1, count // _AT_ONCE)):
        shown = [(name, make()) for name, make in classes.items() for _ in range(_AT_ONCE)]
        # Their heads are made in another order, so that where they lie in memory tells nothing of their class.
        draws.shuffle(shown)
        requests = [head(key) for _, key in shown]
        draws.shuffle(order := list(range(len(shown))))
        for at in order:
            request = requests[at]
            begun_s = time.perf_counter()
            try:
                identify(tables, credentials.read(request, NO_PEER, _WALL_S, 0.0), _WALL_S)
            except Refused:
                taken_s[shown[at][0]].append(time.perf_counter() - begun_s)
    return taken_s


def head(key: str) -> RequestHead:
    """Return a parsed head that shows the key."""
    fields = [(b"authorization", f"Bearer {key}".encode())]
    return RequestHead("POST", "/predictions/digits", fields, dict(fields), 1, True)


def trimmed(taken_s: dict[str, list[float]]) -> dict[str, list[float]]:
    """Leave out what took longer than most of all together, so that no class is cut more than another."""
    everything = sorted(itertools.chain.from_iterable(taken_s.values()))
    longest_s = everything[int(len(everything) * _KEPT)]
    return {name: [one for one in values if one <= longest_s] for name, values in taken_s.items()}


def welch_t(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Welch's t: the difference of two means in standard errors; 0.0 where nothing varies.

    Source: B. L. Welch, The generalization of Student's problem, Biometrika 34 (1947).
    """
    error = statistics.variance(left) / len(left) + statistics.variance(right) / len(right)
    return (statistics.fmean(left) - statistics.fmean(right)) / error**0.5 if error else 0.0


def main(arguments: Sequence[str]) -> int:
    """Print the figures; 1 if the time of some refusal tells what was wrong."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.key_timing", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help=f"verifications of each class; default {COUNT}")
    count = parser.parse_args(arguments).count
    taken_s = trimmed(measure(count, random.Random(13)))
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, n={count} each")
    for name, values in taken_s.items():
        print(
            f"{name:<34} p50 {statistics.median(values) * 1e9:6.0f} ns  mean {statistics.fmean(values) * 1e9:6.0f} ns"
        )
    pairs = list(itertools.combinations([name for name in taken_s if name not in _OTHER_LENGTHS], 2))
    ts = {pair: welch_t(taken_s[pair[0]], taken_s[pair[1]]) for pair in pairs}
    worst = max(pairs, key=lambda pair: abs(ts[pair]))
    medians = [statistics.median(values) for values in taken_s.values()]
    apart_s = max(medians) - min(medians)
    print(f"largest |t| {abs(ts[worst]):.2f} ({worst[0]} / {worst[1]}); medians {apart_s * 1e9:.0f} ns apart at most")
    return int(abs(ts[worst]) >= WORST_T or apart_s >= MOST_APART_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
