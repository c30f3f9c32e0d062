"""One benchmark while it is timed: rounds of calls, and the measurement that they make."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scalelab.bench.jobs import BenchJob, Refused, Sliced
from scalelab.measurements import Measurement
from scalelab.version import __version__

if TYPE_CHECKING:
    from scalelab.measure.timing import Timed

ROUNDS = 5
FEWEST_ROUNDS = 3
PRECISION = 0.02
"""Half-width of the interval of the median at which a benchmark is settled."""


@dataclass
class Timing:
    """What is known so far of one benchmark.

    Attributes:
        job: What is measured.
        rounds: Times of calls, a tuple a round.
        loaded: The measurement as far as loading made it.
        refused: Why it cannot be measured.
        settled: Whether the interval is as narrow as asked.
        started_at: When it was first asked for, in seconds since the epoch.
    """

    job: BenchJob
    rounds: list[tuple[Timed, ...]] = field(default_factory=list)
    loaded: Measurement | None = None
    refused: Refused | None = None
    settled: bool = False
    started_at: float = field(default_factory=time.time)

    @property
    def over(self) -> bool:
        """Whether another round would add nothing."""
        return self.refused is not None or self.settled

    @property
    def tells(self) -> bool:
        """Whether there is something to record: a reason, or enough rounds."""
        return self.refused is not None or len(self.rounds) >= FEWEST_ROUNDS

    def add(self, answer: Sliced | Refused) -> None:
        """Takes in what its process answered."""
        from scalelab.measure.rounds import combine

        if isinstance(answer, Refused):
            self.refused, self.loaded = answer, answer.loaded or self.loaded
            return
        self.rounds.append(answer.times)
        self.loaded = self.loaded or answer.loaded
        if len(self.rounds) >= FEWEST_ROUNDS:
            self.settled = combine(self.rounds, self.job.benchmark.batch_size, PRECISION).settled

    def measurement(self, threads: int) -> Measurement:
        """Returns the record of it.

        Args:
            threads: CPU threads, where the runtime does not say.
        """
        facts: dict[str, Any] = {"status": "ok", "threads": threads}
        if self.loaded is not None:
            facts |= dict(self.loaded)
        if self.refused is not None:
            facts |= {"status": self.refused.status, "reason": self.refused.reason}
        elif self.rounds:
            facts |= self._timed()
        facts |= {name: getattr(self.job, name) for name in ("benchmark", "study", "attempt")}
        facts |= {"started_at": self.started_at, "finished_at": time.time(), "scalelab_version": __version__}
        return Measurement(**facts)

    def _timed(self) -> dict[str, Any]:
        from scalelab.measure.rounds import combine

        found = combine(self.rounds, self.job.benchmark.batch_size, PRECISION)
        return {
            "latency": found.median,
            "latency_low": found.ci[0],
            "latency_high": found.ci[1],
            "p90": found.p90,
            "p99": found.p99,
            "call_latency": found.call,
            "n_calls": found.n,
            "n_rounds": len(self.rounds),
            "settled": found.settled,
            "throughput": found.throughput,
        }
