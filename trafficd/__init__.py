"""trafficd counts the bytes a VPN server moves, and is unable to count anything else."""

__version__ = "0.1.0"
