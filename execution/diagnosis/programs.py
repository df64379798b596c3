"""Whether this program fits what it needs, and its settings what was promised."""

import re
from collections.abc import Iterator

from .codes import FindingCode
from .facts import ProgramFacts
from .findings import Finding, find

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(;.*)?")
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|<|>)\s*([\w.*]+)")
_CODES = {
    "refused": FindingCode.SETTING_REFUSED,
    "risk": FindingCode.SETTING_RISK,
    "cost": FindingCode.SETTING_COST,
}


def judge_program(program: ProgramFacts) -> Iterator[Finding]:
    """Yield what is wrong with the versions and settings of this program."""
    installed = {**program.libraries, "python": program.python}
    for requirement in program.requirements:
        name, needed = split_requirement(requirement)
        version = installed.get(name)
        if version is not None and not meets(version, needed):
            yield find(
                FindingCode.LIBRARY_UNFIT,
                f"{name} {version} is installed, and {needed} is needed",
                requirement=f"{name}{needed}",
            )
    for setting in program.app_settings:
        yield find(
            _CODES[setting.severity],
            f"{setting.setting} = {setting.value}: {setting.effect}",
            fix=setting.fix,
        )
    if not program.has_hints:
        yield find(FindingCode.NO_HINTS, "neither PLANS_REDIS_URL nor a Redis broker")


def split_requirement(requirement: str) -> tuple[str, str]:
    """Return the name and the versions that a requirement names.

    Nothing of one that holds only with an extra, or elsewhere.
    """
    found = _REQUIREMENT.fullmatch(requirement.strip())
    if found is None or found[3]:
        return "", ""
    return found[1].lower(), found[2].replace(" ", "")


def meets(version: str, needed: str) -> bool:
    """Say whether a version is among those that are needed, such as `>=5.7,<6`."""
    have = _read_version(version)
    return all(
        _compare(have, operator, _read_version(bound))
        for operator, bound in _CLAUSE.findall(needed)
    )


def _compare(have: tuple[int, ...], operator: str, bound: tuple[int, ...]) -> bool:
    length = max(len(have), len(bound))
    left, right = _fill(have, length), _fill(bound, length)
    match operator:
        case ">=":
            return left >= right
        case "<=":
            return left <= right
        case "<":
            return left < right
        case ">":
            return left > right
        case "==":
            return left == right
        case "!=":
            return left != right
        case _:
            # ~=1.2.3: as new as that, and alike up to the last number but one
            return left >= right and have[: len(bound) - 1] == bound[:-1]


def _fill(version: tuple[int, ...], length: int) -> tuple[int, ...]:
    return version + (0,) * (length - len(version))


def _read_version(text: str) -> tuple[int, ...]:
    # of 9.1.2.post2 or 5.7.0rc1 the numbers that come first
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()
