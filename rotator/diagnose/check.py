"""
Check: runs steps in the order of what they need.

- The steps are data: a name, what does it (`steps`), and the steps it needs.
- What needs a step that failed is not tried.
- They come in three groups: once for a cache, for each of its addresses, and for the cache again
  when its addresses are through. A step of the last group needs all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rotator.config.load import load
from rotator.console import internal_error
from rotator.diagnose import server_steps, steps
from rotator.diagnose.cost import cost
from rotator.diagnose.stage import stage
from rotator.diagnose.steps import Advice, Next, Probe
from rotator.errors import Exit, RightsError, RotatorError


class Result(StrEnum):
    """Result: says how a step ended."""

    OK = "ok"
    ADVICE = "advice"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class StepResult:
    """Step result: what one step saw, and what to do; *node* is None for a whole cache."""

    cache: str | None
    node: str | None
    step: str
    result: Result = Result.OK
    detail: str = ""
    remedy: str | None = None
    exit_code: Exit = Exit.OK


@dataclass(frozen=True)
class Step:
    """Step: one thing to try, by calling *look*."""

    name: str
    look: Callable[[Probe], str | Advice]
    needs: tuple[str, ...] = ()


FIRST = (Step("key material", steps.key_material),)
NODE = (
    Step("name resolution", steps.name_resolution, ("key material",)),
    Step("TCP", steps.tcp, ("name resolution",)),
    Step("TLS", steps.tls, ("TCP",)),
    Step("authentication", steps.authentication, ("TLS",)),
    Step("rights", steps.rights, ("authentication",)),
    Step("rights for verdicts", steps.verdict_rights, ("authentication",)),
    Step("role", server_steps.role, ("authentication",)),
    Step("version", server_steps.version, ("role",)),
    Step("databases", server_steps.databases, ("role",)),
    Step("memory policy", server_steps.memory_policy, ("role",)),
    Step("persistence", server_steps.persistence, ("role",)),
    Step("clock skew", server_steps.clock_skew, ("authentication",)),
)
LAST = (
    Step("topology", steps.topology, ("role",)),
    Step("replicas", server_steps.replicas, ("topology",)),
    Step("formats", steps.formats, ("topology",)),
    Step("cost", cost, ("formats",)),
)
STAGE = Step("stage", stage, ("topology",))


def check(
    files: Sequence[Path] = (),
    names: Sequence[str] = (),
    provider_url: str | None = None,
    *,
    with_stage: bool = False,
    state: Path | None = None,
) -> Iterator[StepResult]:
    """
    Try everything for the caches called *names*, or for all; yield results as they are made.

    *with_stage* adds what stage of a rotation each is in; *state* is the file of earlier sweeps.
    Nothing is raised for what is wrong: it is a result.
    """
    last = (*LAST, STAGE) if with_stage else LAST
    whole = StepResult(None, None, "configuration")
    try:
        config = load(files)
        caches = [config.cache(name) for name in names] or list(config.caches)
    except RotatorError as error:
        yield _failed(whole, error)
        for step in (*FIRST, *NODE, *last):
            yield _not_tried(replace(whole, step=step.name), whole.step)
        return
    for warning in config.warnings:
        remedy = "correct it, or leave it if the field belongs to the Orchestrator"
        yield replace(whole, result=Result.ADVICE, detail=warning, remedy=remedy)
    yield replace(whole, detail=", ".join(map(str, config.files)))
    for cache in caches:
        if cache.encryption.disabled and not names:
            detail = "encryption is off: there is nothing to rotate, so rotator does not connect"
            yield StepResult(cache.name, None, FIRST[0].name, detail=detail)
            continue
        yield from _check_cache(Probe(config, cache, provider_url, state), last)


def exit_code(results: Sequence[StepResult]) -> Exit:
    """Return 0 if nothing failed, 2 if the configuration is at fault anywhere, else 1."""
    return max((result.exit_code for result in results), default=Exit.OK)


def _check_cache(probe: Probe, last: Sequence[Step]) -> Iterator[StepResult]:
    """Try all steps of one cache; *last* are those of the last group."""
    failed: set[str] = set()
    yield from _try_all(FIRST, probe, failed)
    failed_anywhere = set(failed)
    for address in probe.cache.addresses:
        here = replace(probe, address=address)
        failed_here = set(failed)
        yield from _try_all(NODE, here, failed_here)
        if here.store is not None:
            here.store.connection.close()
        failed_anywhere |= failed_here
    yield from _try_all(last, probe, failed_anywhere)


def _try_all(group: Sequence[Step], probe: Probe, failed: set[str]) -> Iterator[StepResult]:
    """Try the steps of a *group* in order; *failed* are those so far, those not tried included."""
    node = None if probe.address is None else str(probe.address)
    for step in group:
        blank = StepResult(probe.cache.name, node, step.name)
        lacking = next((need for need in step.needs if need in failed), None)
        result = _try(step, probe, blank) if lacking is None else _not_tried(blank, lacking)
        if result.result in {Result.FAILED, Result.NOT_TRIED}:
            failed.add(step.name)
        yield result


def _try(step: Step, probe: Probe, blank: StepResult) -> StepResult:
    """Try one step, and fill in the *blank* result."""
    try:
        seen = step.look(probe)
    except RotatorError as error:
        return _failed(blank, error)
    except Exception as error:  # noqa: BLE001 - the other steps and caches are tried all the same
        return _failed(blank, internal_error(error, cache=blank.cache, step=blank.step))
    if isinstance(seen, str):
        return replace(blank, detail=seen)
    result = Result.OK if isinstance(seen, Next) else Result.ADVICE
    return replace(blank, result=result, detail=seen.detail, remedy=seen.remedy)


def _failed(blank: StepResult, error: RotatorError) -> StepResult:
    """Return the result of a step that raised *error*; there is always something to do about it."""
    lacks = isinstance(error, RightsError)
    otherwise = "the step rights names what is missing" if lacks else "the server's log says more"
    return replace(
        blank,
        result=Result.FAILED,
        detail=str(error),
        remedy=error.hint or otherwise,
        exit_code=Exit.USAGE if error.exit_code is Exit.USAGE else Exit.FAILED,
    )


def _not_tried(blank: StepResult, lacking: str) -> StepResult:
    """Return the result of a step that needs the step *lacking*."""
    return replace(blank, result=Result.NOT_TRIED, detail=f"needs {lacking}")
