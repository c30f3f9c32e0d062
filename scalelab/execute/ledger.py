"""What a run knows of its study's trials: which are done, pending, under way here or with others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scalelab.execute.changes import changed
from scalelab.plugins import Catalog
from scalelab.reached import Reached
from scalelab.records import FINAL_STATUSES, Trial
from scalelab.store import Store, reached_of
from scalelab.study import Study

if TYPE_CHECKING:
    from scalelab.store import Claim
    from scalelab.store.answers import Outcome


@dataclass(kw_only=True)
class Ledger:
    """The trials of a study, sorted by what is known of them.

    Attributes:
        study: The study.
        store: Where its records are.
        catalog: The plugins.
        trials: All trials so far, by id as all of these.
        reached: What final ones reached.
        attempts: Attempts that were made.
        pending: To be attempted, in order.
        under_way: Claimed by this run.
        elsewhere: Claimed by another coordinator.
        changes: Which libraries changed since final ones were made.
        count: How many trials of each outcome.
        failed: Why they could not be trained.
    """

    study: Study
    store: Store
    catalog: Catalog
    trials: dict[str, Trial] = field(default_factory=dict)
    reached: dict[str, Reached] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    pending: deque[str] = field(default_factory=deque)
    under_way: dict[str, Claim] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    changes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def waiting(self) -> list[Trial]:
        """The trials that are pending or under way."""
        return [self.trials[trial_id] for trial_id in (*self.pending, *self.under_way)]

    def give_back_settled(self, asked: Collection[str]) -> None:
        """Releases claims of a joined run whose attempts have ended, or that the study no longer asks for.

        Args:
            asked: The trials that it asks for.
        """
        settled = [
            claim
            for trial_id, claim in self.under_way.items()
            if trial_id not in asked or self.store.journal.has(claim.record_id)
        ]
        for claim in settled:
            del self.under_way[claim.trial_id]
        self.store.claims.release(*settled)

    def take(self, trials: Sequence[Trial], retry_failed: bool, redo_changed: bool) -> None:
        """Sorts trials by what is known of them."""
        self.trials.update({trial.id: trial for trial in trials})
        ids = [trial.id for trial in trials]
        outcomes = self.store.outcomes(ids)
        self.reached.update(reached_of(outcomes))
        busy = {claim.trial_id for claim in self.store.claims.live()}
        self.attempts.update({trial_id: outcome.attempts for trial_id, outcome in outcomes.items()})
        finished = [key for key, outcome in outcomes.items() if outcome.status in FINAL_STATUSES]
        self.changes.update(changed(trials, self.store.libraries(finished), self.catalog))
        for trial_id in ids:
            outcome = outcomes.get(trial_id)
            redo = redo_changed and trial_id in self.changes and trial_id not in busy
            if outcome and outcome.status in FINAL_STATUSES and not redo:
                self.count["kept"] += 1
            elif outcome and outcome.status == "failed" and not retry_failed:
                self.failed[trial_id] = outcome.error or "no reason recorded"
            elif trial_id in self.under_way:
                self.attempts[trial_id] = self.under_way[trial_id].attempt - 1
            elif trial_id in busy:
                self.elsewhere.add(trial_id)
            else:
                self.pending.append(trial_id)

    def count_elsewhere(self) -> Mapping[str, Outcome]:
        """Takes note of what other coordinators finished by now; returns the outcomes of all they were at."""
        outcomes = self.store.outcomes(self.elsewhere)
        finished = reached_of(outcomes)
        self.reached.update(finished)
        self.count["kept"] += len(finished)
        self.elsewhere -= finished.keys()
        return outcomes

    def look_elsewhere(self) -> None:
        """Takes note of what other coordinators finished by now, and takes up what they gave back."""
        self.store.claims.reap()
        busy = {claim.trial_id for claim in self.store.claims.live()}
        outcomes = self.count_elsewhere()  # one look: what is finished between two would be attempted again
        free = sorted(self.elsewhere - busy)
        self.elsewhere -= set(free)
        for trial_id in free:
            outcome = outcomes.get(trial_id)
            if outcome is not None:
                self.attempts[trial_id] = outcome.attempts
            if outcome is not None and outcome.status == "failed":
                self.failed[trial_id] = outcome.error or "no reason recorded"
            else:
                self.pending.append(trial_id)

    def take_back(self) -> None:
        """Before the run ends, takes up trials that another coordinator held and gave back."""
        if self.elsewhere and not (self.pending or self.under_way):
            self.store.ingest()
            self.look_elsewhere()
