"""`python -m tests.simulation`: runs seeds, and says which failed and how to see why.

With `--seed N --trace` one seed is replayed, each switch a line. The schema is made if
it is not there; with `--json` the counts come out for another program to add up.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.simulation.seeds import Outcome, open_stage, play_seed
from tests.simulation.store import install


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code says whether every seed kept every promise."""
    options = _read_options(arguments)
    # what our code warns of is what is tried here
    logging.getLogger("execution").setLevel(logging.CRITICAL)
    install(options.database_url, options.schema)
    stage = open_stage(
        options.database_url, options.schema, has_operators=options.operators
    )
    seeds = _read_seeds(options)
    began = time.monotonic()
    failed: list[Outcome] = []
    counts: Counter[str] = Counter()
    for seed in seeds:
        outcome = play_seed(stage, seed, is_tracing=options.trace)
        counts += outcome.counts
        _say_if(options.trace, "\n".join(outcome.trace))
        _say_if(options.verbose, f"seed {seed}: {outcome.reason or 'ok'}")
        if outcome.reason is not None:
            failed.append(outcome)
    seconds = time.monotonic() - began
    stage.store.close()
    if options.json:
        failures = {outcome.seed: outcome.reason for outcome in failed}
        told = {"stage": _name_stage(options), "counts": counts, "failures": failures}
        _say(json.dumps(told | {"seconds": seconds}))
    else:
        _report(options, len(seeds), failed, counts, seconds)
    return bool(failed)


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", default="0:200", help="FIRST:AFTER_LAST")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="each switch a line")
    parser.add_argument("--verbose", action="store_true", help="each seed a line")
    parser.add_argument("--json", action="store_true", help="the counts, for programs")
    parser.add_argument(
        "--operators", action="store_true", help="with signals, retries and yields"
    )
    parser.add_argument("--schema", default="simulation")
    parser.add_argument(
        "--database-url", default=os.environ.get("PLANS_DATABASE_URL"), help="of a test"
    )
    options = parser.parse_args(arguments)
    if not options.database_url:
        parser.error("name a database with --database-url or PLANS_DATABASE_URL")
    return options


def _read_seeds(options: argparse.Namespace) -> range:
    if options.seed is not None:
        return range(options.seed, options.seed + 1)
    first, _, last = options.seeds.partition(":")
    return range(int(first), int(last))


def _name_stage(options: argparse.Namespace) -> str:
    """Return what a seed has to be played with to play the same way."""
    return "--operators --seed" if options.operators else "--seed"


def _report(
    options: argparse.Namespace,
    tried: int,
    failed: Sequence[Outcome],
    counts: Counter[str],
    seconds: float,
) -> None:
    for what, times in sorted(counts.items()):
        _say(f"{times:8} {what}")
    for outcome in failed:
        _say(
            f"seed {outcome.seed} FAILED: {outcome.reason}\n"
            f"    replay: python -m tests.simulation {_name_stage(options)}"
            f" {outcome.seed} --trace"
        )
    _say(f"{tried} seeds, {len(failed)} failed, {tried / seconds:.1f} seeds a second")


def _say_if(is_wanted: bool, text: str) -> None:
    if is_wanted:
        _say(text)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
