"""A process that may do as little as its service in a container may.

Its root is read-only but for the service's volumes and its `/tmp`, it has no
capabilities, and nothing that it starts gains any. Linux lets root alone do this.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

_APART = ("unshare", "--mount", "--propagation", "private")
_WITHOUT_RIGHTS = "setpriv --no-new-privs --bounding-set -all --inh-caps -all"


@cache
def can_confine() -> bool:
    """Say whether the kernel lets this user have mounts of a process's own."""
    command = [*_APART, "setpriv", "--version"]
    try:
        tried = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return os.geteuid() == 0 and tried.returncode == 0


def confine(
    service: Mapping[str, Any], command: Sequence[str], paths: Mapping[str, str]
) -> list[str]:
    """Return what runs the command as `read_only` and `cap_drop` ask.

    `paths` says where the paths of the container lie on this machine.
    """
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    mounts = [mount.split(":") for mount in service.get("volumes", ())]
    inside = [target for _, target, *mode in mounts if mode != ["ro"]]
    inside += [mount.partition(":")[0] for mount in service.get("tmpfs", ())]
    writable = [shlex.quote(paths[path]) for path in inside]
    steps = [f"mount --bind {path} {path}" for path in writable]
    steps += ["mount -o remount,ro,bind /", f'exec {_WITHOUT_RIGHTS} "$@"']
    return [*_APART, "/bin/sh", "-c", " && ".join(steps), "sh", *command]
