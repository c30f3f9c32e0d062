"""How long a run will still take, told from the trials that it has ended and those that are under way."""

from __future__ import annotations

from typing import NamedTuple


class _UnderWay(NamedTuple):
    began: float
    share: float


class Pace:
    """The time left of a run; times are seconds of one clock.

    It knows nothing of what trials cost: those to come are taken to last between the shortest and the longest
    of this run so far. A trial under way counts too, once it says how far it is.
    """

    def __init__(self) -> None:
        self._lasted: list[float] = []
        self._under_way: dict[str, _UnderWay] = {}

    def began(self, trial_id: str, now: float) -> None:
        """Notes that a trial is under way."""
        self._under_way[trial_id] = _UnderWay(now, 0.0)

    def moved(self, trial_id: str, share: float) -> None:
        """Notes which share of a trial is done, from 0 to 1."""
        if trial_id in self._under_way:
            self._under_way[trial_id] = self._under_way[trial_id]._replace(share=share)

    def ended(self, trial_id: str, now: float, *, for_good: bool) -> None:
        """Notes that a trial is not under way any more; one that was lost says nothing of the others."""
        trial = self._under_way.pop(trial_id, None)
        if trial is not None and for_good:
            self._lasted.append(now - trial.began)

    @property
    def under_way(self) -> dict[str, float]:
        """Which share of each trial under way is done."""
        return {trial_id: trial.share for trial_id, trial in self._under_way.items()}

    def left(self, n_waiting: int, now: float) -> tuple[float, float] | None:
        """Returns the least and the most seconds that are left; `None` where no trial says how long it takes.

        Args:
            n_waiting: Trials that are neither done nor under way.
            now: The time.
        """
        whole = [(now - trial.began) / trial.share for trial in self._under_way.values() if trial.share > 0]
        known = [*self._lasted, *whole]
        if not known:
            return None
        lanes = max(1, len(self._under_way))
        spans = []
        for typical in (min(known), max(known)):
            own = [
                (now - trial.began) * (1 / trial.share - 1) if trial.share > 0 else typical
                for trial in self._under_way.values()
            ]
            # No lane ends before its own trial, and all of them share what waits.
            spans.append(max([(sum(own) + n_waiting * typical) / lanes, *own]))
        return spans[0], spans[1]
