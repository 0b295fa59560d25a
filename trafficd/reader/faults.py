"""How often the reader could not see all that the kernel said."""

from trafficd.releases import Faults


class FaultCounter:
    """Counts faults as they happen; they leave with the next release."""

    def __init__(self) -> None:
        self.overruns = 0
        self.malformed = 0

    def faults(self) -> Faults:
        """Return the counts so far."""
        return Faults(self.overruns, self.malformed)
