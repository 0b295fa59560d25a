"""How often the reader could not see all that the kernel said."""

from trafficd.releases import Faults


class FaultCounter:
    """Counts faults as they happen; they leave with the next release."""

    def __init__(self, before: Faults | None = None) -> None:
        """Go on from those that were counted *before*."""
        before = before or Faults()
        self.overruns = before.overruns
        self.malformed = before.malformed
        self.gaps = before.gaps

    @property
    def blind_times(self) -> int:
        """How often links may have moved bytes unseen."""
        return self.overruns + self.gaps

    def faults(self) -> Faults:
        """Return the counts so far."""
        return Faults(self.overruns, self.malformed, self.gaps)
