# SPDX-License-Identifier: Apache-2.0
"""What is left to do: shards minus the records that are in place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vitruvian.curate.engines import Engine, Report
from vitruvian.curate.pool import Result
from vitruvian.curate.records import is_done
from vitruvian.curate.shardwork import Task
from vitruvian.curate.stage import Stage
from vitruvian.curate.tree import ShardRef, Tree
from vitruvian.errors import InputError


def in_order(stages: Sequence[Stage]) -> list[Stage]:
    """Return stages and everything upstream of them, each once, upstream ones first."""
    found: dict[str, Stage] = {}

    def take(stage: Stage) -> None:
        if stage.upstream is not None:
            take(stage.upstream)
        known = found.setdefault(stage.name, stage)
        if known != stage:
            raise InputError(
                f"the stage {stage.name} is wanted with two different settings in one run: run "
                "them one after the other"
            )

    for stage in stages:
        take(stage)
    return list(found.values())


def todo(
    tree: Tree, stages: Sequence[Stage], shards: Sequence[ShardRef], *, retry: bool = False
) -> list[Task]:
    """Return the shards that lack a record, each with the stages it lacks.

    Args:
        tree: the curation.
        stages: all that are wanted, as `in_order` returns them.
        shards: where to look.
        retry: take shards with transient failures again.
    """
    tasks: list[Task] = []
    for shard in shards:
        missing = {s.name for s in stages if not is_done(tree, s, shard, retry=retry)}
        # what builds on answers that are made anew is made anew too
        for stage in stages:
            if stage.upstream is not None and stage.upstream.name in missing:
                missing.add(stage.name)
        if missing:
            names = tuple(stage.name for stage in stages if stage.name in missing)
            tasks.append(Task(shard=shard, stages=names))
    return tasks


@dataclass
class Tally:
    """What a run did.

    Attributes:
        shards: scored.
        rows: in them.
        deaths: processes that died or were killed.
        poison: pictures given up because they crash or hang a process.
        failed: why shards have no record.
        fatal: why the run ended early, or ``None``.
    """

    shards: int = 0
    rows: int = 0
    deaths: int = 0
    poison: int = 0
    failed: list[str] = field(default_factory=list[str])
    fatal: str | None = None


def run(
    stages: Sequence[Stage], tasks: Sequence[Task], engine: Engine
) -> Iterator[tuple[Report, Tally]]:
    """Score shards, yielding what the engine reports and the sum of it so far.

    Args:
        stages: all stages of the tasks, as `in_order` returns them.
        tasks: what is left, see `todo`.
        engine: where.
    """
    tally = Tally()
    for report in engine.run(tasks, stages) if tasks else ():
        if isinstance(report, Result):
            tally.deaths += report.deaths
            tally.poison += len(report.task.poison)
            if report.fatal:
                tally.fatal = report.error
            elif report.error is not None:
                tally.failed.append(report.error)
            else:
                tally.shards += 1
                tally.rows += report.rows
        yield report, tally
