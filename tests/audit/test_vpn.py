"""What VPN daemons are told to keep, read from their own formats."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from trafficd.audit import vpn
from trafficd.audit.vpn import Offence


@pytest.mark.parametrize(
    ("judge", "line", "option"),
    [
        (vpn.openvpn, "status /var/log/openvpn.log 10", "status"),
        (vpn.openvpn, "--status /run/x", "status"),
        (vpn.openvpn, "verb 4 # loud", "verb 4"),
        (vpn.openvpn, "client-connect /bin/x", "client-connect"),
        (vpn.openvpn, "learn-address '/bin/my script'", "learn-address"),
        (vpn.openvpn, "ifconfig-pool-persist ipp.txt", "ifconfig-pool-persist"),
        (vpn.openvpn, "plugin /usr/lib/openvpn/radiusplugin.so x", "plugin radius"),
        (vpn.openvpn, "verb 2", ""),
        (vpn.openvpn, "status-version 2", ""),
        (vpn.openvpn, "; status x", ""),
        (vpn.openvpn, "push 'status", ""),
        (vpn.pppd, "plugin radattr.so", "plugin radius"),
        (vpn.pppd, "record /tmp/x", "record"),
        (vpn.pppd, "debug", "debug"),
        (vpn.pppd, "plugin pppol2tp.so", ""),
        (vpn.ocserv, 'acct = "radius[config=/etc/x]"', "acct"),
        (vpn.ocserv, "stats-report-time = 360", "stats-report-time"),
        (vpn.ocserv, "use-utmp = true", "use-utmp"),
        (vpn.ocserv, "connect-script = /bin/x", "connect-script"),
        (vpn.ocserv, "use-utmp = false", ""),
        (vpn.ocserv, "#acct = x", ""),
        (vpn.strongswan, "    accounting = yes", "eap-radius accounting"),
        (vpn.strongswan, "charon.plugins.eap-radius.accounting = yes", "eap-radius accounting"),
        (vpn.strongswan, "accounting = no", ""),
        (vpn.accel_ppp, "radius", "radius"),
        (vpn.accel_ppp, "log_file", "log_file"),
        (vpn.accel_ppp, "l2tp", ""),
    ],
)
def test_an_option_that_keeps_clients_is_found(
    judge: Callable[[Iterable[str]], Iterator[Offence]], line: str, option: str
) -> None:
    assert [each.option for each in judge([line])] == ([option] if option else [])
