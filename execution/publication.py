"""Plans by name: publish one, find it again, list its versions.

Promises: a version that was published says the same for ever; a name stands for what
was published last, which may be an older version. It must not know of executions.
"""

from .admission import PlanAdmission
from .errors import Fault, ParameterError, PlanNotFoundError
from .language.rules import Rule
from .plan import Plan
from .reference import PlanReference
from .repository import ExecutionRepository
from .results import PlanVersion
from .settings import Settings

_FILES = (".yaml", ".yml", ".json")


class PublishedPlans:
    """What `ExecutionEngine` can do with the names of plans."""

    settings: Settings
    _repository: ExecutionRepository
    _admission: PlanAdmission

    def publish(self, plan: Plan) -> None:
        """Store `plan` as the one that its name stands for from now on.

        Whoever knows the name can submit it then: another program, or SQL. Executions
        that have begun keep the plan that they began with. A plan that was published
        before becomes the current one again.

        Raises PlanValidationError as `submit` does, and PlanVersionConflictError when
        its version is published with another body.
        """
        self._admission.admit(plan, is_published=True)
        self._repository.publish_plan(plan, queue=self.settings.queue)

    def get_plan(self, name: str, version: str | None = None) -> Plan:
        """Return the plan that was published last under `name`, or a version of it.

        `name` may be `NAME@VERSION` as well. Raises PlanNotFoundError when there is
        none.
        """
        wanted = PlanReference.parse(name)
        if version is not None:
            wanted = PlanReference(name, version)
        definition = self._repository.get_published_plan(wanted.name, wanted.version)
        if definition is None:
            raise _not_published(wanted)
        return Plan.from_mapping(definition)

    def _take(self, plan: Plan | str) -> Plan:
        if isinstance(plan, str):
            return self.get_plan(plan)
        if not isinstance(plan, Plan):
            message = (
                f"is a {type(plan).__name__}, not a plan or the name of one; see"
                " Plan.from_file and Plan.from_mapping"
            )
            raise ParameterError((Fault("plan", message, rule=Rule.WRONG_SUBMIT),))
        return plan

    def list_versions(self, name: str) -> tuple[PlanVersion, ...]:
        """Return what was published under `name`, the current one first.

        Raises PlanNotFoundError when there is none.
        """
        versions = self._repository.list_versions(name)
        if not versions:
            raise _not_published(PlanReference(name))
        return versions


def _not_published(wanted: PlanReference) -> PlanNotFoundError:
    if wanted.name.endswith(_FILES):
        return PlanNotFoundError(
            f"no plan {wanted.name!r} is published; if that is a file, read it:"
            f" Plan.from_file({wanted.name!r})"
        )
    if wanted.version is None:
        return PlanNotFoundError(
            f"no plan {wanted.name!r} is published; publish it: plans publish FILE"
        )
    return PlanNotFoundError(
        f"no plan {wanted.name!r} is published in version {wanted.version!r}; see which"
        f" are: plans versions {wanted.name}"
    )
