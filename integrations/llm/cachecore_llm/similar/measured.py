"""The error of similar answers as it was measured: answers served, the wrong ones among them, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cachecore_llm.similar.intervals import lower_bound, upper_bound

CONFIDENCE: Final = 0.95
"""Of the interval, both ends together."""
_EACH_END: Final = 1 - (1 - CONFIDENCE) / 2


@dataclass(frozen=True, slots=True)
class MeasuredError:
    """A sample of answers that would be served, and how many of them are wrong."""

    source: str
    """The pairs that were judged, for people."""
    served: int
    wrong: int

    @property
    def rate(self) -> float | None:
        """The part of the answers served that are wrong; None if none was served."""
        return self.wrong / self.served if self.served else None

    @property
    def at_least(self) -> float:
        """The lower end of the exact interval (Clopper–Pearson) at `CONFIDENCE`; 0.0 if none was served."""
        return lower_bound(self.wrong, self.served, _EACH_END)

    @property
    def at_most(self) -> float:
        """The upper end of that interval; 1.0 if none was served."""
        return upper_bound(self.wrong, self.served, _EACH_END)


PUBLIC: Final = MeasuredError(
    source="public pairs: questions of BANKING77 and CLINC150, wrong if of another intent", served=92, wrong=1
)
"""The laws at the threshold 0.60: 53 and 38 pairs of one intent and 1 and 0 of two pass (`python -m
benchmarks.similar_laws`, stated in `docs/explanation/similar.md`). The Korean pairs add none: none of them passes."""
