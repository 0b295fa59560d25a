"""What the configuration of a VPN daemon says that breaks the promise: lines in, options out.

Only the option's name leaves: its value may be a person's, or a secret.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

_STATUS, _ACCOUNTING = "outside.vpn_status", "outside.accounting"
# openvpn(8): from 3 on it logs each connection with the client's address and name; default 1.
_TALKATIVE = 3


@dataclass(frozen=True, slots=True)
class Offence:
    """An option that breaks the promise, of a finding's identity, with what to do."""

    identity: str
    option: str
    why: str
    mend: str


def openvpn(lines: Iterable[str]) -> Iterator[Offence]:
    """Yield what of OpenVPN's options keeps clients."""
    for words in _words(lines):
        option = words[0].lstrip("-")
        mend = f"take `{option}` out"
        if option == "status" and len(words) > 1:
            why = "writes names, addresses and bytes of the clients to a file"
            yield Offence(_STATUS, option, why, f"{mend}, also of its unit")
        elif option in ("verb",) and len(words) > 1 and words[1].isdecimal():
            if int(words[1]) >= _TALKATIVE:
                why = "logs each connection with its address"
                yield Offence(_STATUS, f"verb {words[1]}", why, "write `verb 1`")
        elif option == "ifconfig-pool-persist":
            yield Offence(_STATUS, option, "writes names and addresses of clients to a file", mend)
        elif option in ("client-connect", "client-disconnect", "learn-address"):
            why = "runs a program with the client's name, address and bytes"
            yield Offence(_ACCOUNTING, option, why, f"{mend}, or make sure that it keeps nothing")
        elif option == "plugin" and any("radius" in word for word in words[1:]):
            yield Offence(_ACCOUNTING, "plugin radius", "accounts for sessions", mend)


def pppd(lines: Iterable[str]) -> Iterator[Offence]:
    """Yield what of pppd's options accounts for a session or records it (pppd(8))."""
    for words in _words(lines):
        mend = f"take `{words[0]}` out"
        if words[0] == "plugin" and any("rad" in word for word in words[1:]):
            why = "accounts for sessions; radattr also writes them to /var/run"
            yield Offence(_ACCOUNTING, "plugin radius", why, "let something else authenticate")
        elif words[0] == "record":
            yield Offence("outside.capture", "record", "writes all packets to a file", mend)
        elif words[0] in ("debug", "logfile"):
            yield Offence(_STATUS, words[0], "logs addresses and names of the session", mend)


def ocserv(lines: Iterable[str]) -> Iterator[Offence]:
    """Yield what of ocserv.conf accounts for or lists sessions (ocserv(8))."""
    for key, value in _pairs(lines):
        mend = f"take `{key}` out"
        if key == "acct":
            yield Offence(_ACCOUNTING, key, "accounts for sessions", mend)
        elif key == "stats-report-time":
            yield Offence(_ACCOUNTING, key, "reports each session's bytes as it goes on", mend)
        elif key == "use-utmp" and value.lower() == "true":
            yield Offence(_STATUS, key, "writes who is connected to utmp and wtmp", f"{mend}")
        elif key in ("connect-script", "disconnect-script"):
            why = "runs a program with the user's name, address and bytes"
            yield Offence(_ACCOUNTING, key, why, f"{mend}, or make sure that it keeps nothing")


def strongswan(lines: Iterable[str]) -> Iterator[Offence]:
    """Yield what of strongswan.conf(5) accounts for sessions, in whatever section."""
    for key, value in _pairs(lines):
        if key == "accounting" and value.lower() in ("yes", "true", "1"):
            yield Offence(
                _ACCOUNTING, "eap-radius accounting", "accounts for sessions", "write `no`"
            )


def accel_ppp(lines: Iterable[str]) -> Iterator[Offence]:
    """Yield what of accel-ppp.conf(5) accounts for sessions: its [modules] are bare words."""
    for words in _words(lines):
        if words[0] in ("radius", "log_pgsql", "log_file", "log_syslog"):
            kind = _ACCOUNTING if words[0] == "radius" else _STATUS
            why = "accounts for sessions" if words[0] == "radius" else "logs each session"
            yield Offence(kind, words[0], why, f"take `{words[0]}` out of [modules]")


@dataclass(frozen=True, slots=True)
class Daemon:
    """A VPN daemon: its process names, where its configuration is, and how that is judged.

    *option* names the file on its command line; *files* are read besides, from the root it sees.
    """

    names: tuple[str, ...]
    judge: Callable[[Iterable[str]], Iterator[Offence]]
    options: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    takes_options: bool = False


DAEMONS: Mapping[str, Daemon] = {
    "OpenVPN": Daemon(("openvpn",), openvpn, ("--config",), (), takes_options=True),
    "pppd": Daemon(
        ("pppd",), pppd, ("file",), ("/etc/ppp/options", "/etc/ppp/options.*"), takes_options=True
    ),
    "ocserv": Daemon(
        ("ocserv", "ocserv-main", "ocserv-sm"),
        ocserv,
        ("-c", "--config"),
        ("/etc/ocserv/ocserv.conf",),
    ),
    "strongSwan": Daemon(
        ("charon", "charon-systemd", "starter"),
        strongswan,
        (),
        ("/etc/strongswan.conf", "/etc/strongswan.d/*.conf", "/etc/strongswan.d/charon/*.conf"),
    ),
    "accel-ppp": Daemon(("accel-pppd",), accel_ppp, ("-c",), ("/etc/accel-ppp.conf",)),
}


def option_lines(words: Iterable[str]) -> list[str]:
    """Return a command line as the lines of a file: each option with the words behind it."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append([word])
        else:
            lines[-1].append(word)
    return [shlex.join(line) for line in lines]


def _words(lines: Iterable[str]) -> Iterator[list[str]]:
    for line in lines:
        bare = re.split(r"[#;]", line, maxsplit=1)[0]
        try:
            words = shlex.split(bare)
        except ValueError:
            words = bare.split()
        if words:
            yield words


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, equals, value = line.partition("#")[0].partition("=")
        if equals:
            yield key.split(".")[-1].strip(), value.strip().strip('"')
