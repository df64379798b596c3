"""What is read stays itself, and nothing that is read ends in anything but faults.

Documents of all features are drawn by a seed; each is written as YAML, JSON and Python,
and then damaged: parts are cut, swapped, repeated, or replaced by what does not belong.
"""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import yaml

from execution import Plan, Step
from execution.errors import PlanValidationError
from tests.conformance.scenarios import draw_scenario

# chance repeats what the rows of rules have covered
pytestmark = pytest.mark.usefixtures("untraced")

SEEDS = 40
DAMAGES_A_SEED = 25

POLICIES: dict[str, list[Any]] = {
    "queue": ["cpu"],
    "timeout": ["30s", "1h30m"],
    "deadline": ["2h"],
    "priority": [9],
    "retry": [{"attempts": 2, "wait": "random", "on": ["OSError", "E002"]}],
}
DOCUMENT: dict[str, list[Any]] = {
    "version": ["1.2"],
    "description": ["Says: what # it does"],
    "tags": [["a", "b c"]],
    "deadline": ["1d"],
    "defaults": [{"timeout": "5m", "on_failure": "skip"}],
    "profiles": [{"slow": {"queue": "cpu"}}],
    "x-note": [{"any": [1, None]}],
}
ODDITIES: list[Any] = [
    *(None, True, 0, -1, 2**53 + 1, 1e308, float("nan"), float("inf"), "", " ", [], {}),
    *("${", "${}", "${steps}", "${steps.s0.result", "${{}}", "$${", "${'}", '${"}"}'),
    *("${" + "(" * 20 + "}", "${[1].map(x, [x].map(y, y))}", "secret://", "secret://A"),
    *("steps.s0.result[", "steps.s0", "a" * 2000, "\x00", "\ud800", "\u202e", "E007"),
    *("99999999999d", "1h1h", "-5s", "150%", "s0", "always", "[", "x-", 10**400),
    *([["s0"]], {"fallback": "s0"}, {"fallback": []}, {"": {}}, {1: 2}, b"x", object()),
]
TEXT_ODDITIES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "&a ",
    "*a",
    "!!x ",
    '"',
    "'",
    "\n",
    "\t",
]
TEXT_ODDITIES += [
    "---\n",
    "<<: ",
    "? ",
    "| ",
    "%",
    "\x00",
    "\ufeff",
    "\u2028",
    "#",
    ",",
]


class _QuotingDumper(yaml.SafeDumper):
    """Quotes all text: PyYAML knows YAML 1.1, in which other texts are numbers."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write out what is there twice."""
        return True


_QuotingDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"'
    ),
)


def draw_document(dice: random.Random) -> dict[str, Any]:
    """Return a document without faults, with features from everywhere."""
    document = dict(draw_scenario(dice.randrange(10**9)).document)
    for name, values in DOCUMENT.items():
        if dice.random() < 0.4:
            document[name] = deepcopy(dice.choice(values))
    for step in document["steps"]:
        for name, values in POLICIES.items():
            if dice.random() < 0.2:
                step[name] = deepcopy(dice.choice(values))
        if "profiles" in document and dice.random() < 0.3:
            step["profile"] = "slow"
    return document


def write_in_python(document: dict[str, Any]) -> Plan:
    """Return the plan that is built of steps."""
    document = {name: v for name, v in document.items() if not name.startswith("x-")}
    del document["format"]
    steps = [
        Step(**{"with_" if name == "with" else name: v for name, v in step.items()})
        for step in document.pop("steps")
    ]
    return Plan(document.pop("name"), steps=steps, **document)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_plan_is_the_same_however_it_is_written(seed: int) -> None:
    document = draw_document(random.Random(f"written {seed}"))
    plan = Plan.from_mapping(document)

    definition = plan.definition
    as_yaml = yaml.dump(definition, Dumper=_QuotingDumper, sort_keys=False)
    others = [
        Plan.from_mapping(definition),
        Plan.from_text(json.dumps(document), source="p.json"),
        Plan.from_text(as_yaml, source="p.yaml"),
        write_in_python(document),
    ]

    for other in others:
        assert other.definition == definition
        assert other.digest == plan.digest
        assert other.steps == plan.steps
        assert (other.rollback, other.result) == (plan.rollback, plan.result)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_damaged_document_has_faults_and_nothing_else(seed: int) -> None:
    dice = random.Random(f"damaged {seed}")
    for _ in range(DAMAGES_A_SEED):
        document = draw_document(dice)
        for _ in range(dice.randint(1, 4)):
            damage(dice, document)
        check(partial(Plan.from_mapping, document))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("source", ["p.yaml", "p.json", "p"])
def test_a_damaged_text_has_faults_and_nothing_else(source: str, seed: int) -> None:
    dice = random.Random(f"torn {source} {seed}")
    document = draw_document(dice)
    text = json.dumps(document, indent=1)
    if source == "p.yaml":
        text = yaml.safe_dump(document, sort_keys=False)
    for _ in range(DAMAGES_A_SEED // 3):
        torn = text
        for _ in range(dice.randint(1, 4)):
            torn = tear(dice, torn)
        check(partial(Plan.from_text, torn, source=source))


def check(read: Callable[[], Plan]) -> None:
    """Read what may have faults; they all have a place and a reason."""
    read_or_refused = try_to_read(read)
    if isinstance(read_or_refused, Plan):
        again = Plan.from_mapping(read_or_refused.definition)
        assert again.digest == read_or_refused.digest
    else:
        assert read_or_refused.faults
        assert all(f.place and f.message for f in read_or_refused.faults)


def try_to_read(read: Callable[[], Plan]) -> Plan | PlanValidationError:
    """Return the plan, or the one error that there may be."""
    try:
        return read()
    except PlanValidationError as error:
        return error


def damage(dice: random.Random, document: dict[str, Any]) -> None:
    """Change one value, wherever it stands."""
    container, key = dice.choice(list_places(document))
    match dice.randrange(5):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.insert(key, container[key])
        case 1:
            container[dice.choice(["", "x-a", "env", "run_on", "wehn"])] = container[
                key
            ]
        case 2:
            other, name = dice.choice(list_places(document))
            container[key] = json.loads(json.dumps(other[name], default=str))
        case _:
            container[key] = deepcopy(dice.choice(ODDITIES))


def list_places(document: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return every container with each of its keys; one that is empty has one, too."""
    places: list[tuple[Any, Any]] = []
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value))
        places += [(value, key) for key in keys]
        pending += [value[key] for key in keys if isinstance(value[key], dict | list)]
    if not places:
        document["name"] = "p"
        places = [(document, "name")]
    return places


def tear(dice: random.Random, text: str) -> str:
    """Return a text with a part cut, repeated, moved, or something put in."""
    start, end = sorted(dice.randrange(len(text) + 1) for _ in range(2))
    end = min(end, start + dice.choice([1, 5, 40]))
    part = text[start:end]
    match dice.randrange(4):
        case 0:
            return text[:start] + text[end:]
        case 1:
            return text[:end] + part + text[end:]
        case 2:
            return text[:start] + text[end:] + part
        case _:
            return text[:start] + dice.choice(TEXT_ODDITIES) + text[start:]
