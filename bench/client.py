"""A small HTTP client for where wrk is not installed; it takes wrk's options and prints its line.

It is slower than wrk: what it measures is a lower bound.
"""

import argparse
import asyncio
import sys
import time
from urllib.parse import urlsplit


def main() -> int:
    """Ask over and over for the given time, then print the rate."""
    parser = argparse.ArgumentParser(description="Ask a server for one page over and over.")
    parser.add_argument("-c", dest="connections", type=int, default=8)
    parser.add_argument("-d", dest="duration", default="8s")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("url")
    arguments = parser.parse_args()
    place = urlsplit(arguments.url)
    lines = [f"GET {place.path} HTTP/1.1", f"Host: {place.netloc}", *arguments.headers]
    request = "\r\n".join([*lines, "", ""]).encode()
    seconds = float(arguments.duration.removesuffix("s"))
    rate = asyncio.run(
        _rate(place.hostname or "", place.port or 80, request, arguments.connections, seconds)
    )
    print(f"Requests/sec: {rate:.2f}")
    return 0


async def _rate(host: str, port: int, request: bytes, connections: int, seconds: float) -> float:
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_ask(host, port, request, started + seconds))
            for _ in range(connections)
        ]
    return sum(task.result() for task in tasks) / (time.perf_counter() - started)


async def _ask(host: str, port: int, request: bytes, until: float) -> int:
    """Return how many answers came on one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        if status.split()[1] != "200":
            raise RuntimeError(status)
        sizes = [int(each[15:]) for each in fields if each.lower().startswith("content-length:")]
        await reader.readexactly(sizes[0])
        count += 1
    writer.close()
    return count


if __name__ == "__main__":
    sys.exit(main())
