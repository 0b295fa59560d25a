"""Programs that keep or publish what trafficd promises nobody keeps, with why and what to do.

A program is known by its process name, which the kernel cuts at 15 letters (proc_pid_comm(5)), or
by the file name of its program. Where options can make it harmless, *needs* are the options that
must all be there, and *or_any* those of which one is enough.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offender:
    """One kind of program; *only_with* are words of which it is an offender at all."""

    identity: str
    names: tuple[str, ...]
    why: str
    mend: str
    needs: tuple[str, ...] = ()
    or_any: tuple[str, ...] = ()
    only_with: tuple[str, ...] = ()


_INTERFACES = "outside.interface_exporters"
_ACCOUNTING = "outside.accounting"
_FLOWS = "outside.flows"
_CONNECTIONS = "outside.connections"
_CAPTURE = "outside.capture"

_BY_LINK = "publishes counters by link: one link is one customer"
_KEEPS_BY_LINK = "writes counters by link to disk"
_LINKS_MEND = "turn its network plugin off, or stop it; trafficd has the totals"
_FLOWS_MEND = "stop it: it tells who talked to whom"

OFFENDERS = (
    Offender(
        _INTERFACES,
        ("node_exporter", "prometheus-node-exporter"),
        _BY_LINK,
        "start it with --no-collector.netdev --no-collector.netclass --no-collector.arp",
        needs=("--no-collector.netdev", "--no-collector.netclass", "--no-collector.arp"),
        or_any=("--collector.disable-defaults",),
    ),
    Offender(
        _INTERFACES,
        ("wireguard_exporter", "prometheus-wireguard-exporter", "prometheus_wireguard_exporter",
         "wg-exporter", "wgexporter"),
        "publishes counters, keys and addresses by peer",
        "stop it",
    ),
    Offender(
        _INTERFACES,
        ("openvpn_exporter", "prometheus-openvpn-exporter", "openvpn-exporter"),
        "publishes counters, names and addresses by client",
        "stop it, and take `status` out of OpenVPN's configuration",
    ),
    Offender(
        _INTERFACES,
        ("ocserv_exporter", "ocserv-exporter", "strongswan_exporter", "ipsec_exporter",
         "accel-ppp-exporter", "pppd_exporter", "xl2tpd_exporter"),
        "publishes counters by session",
        "stop it",
    ),
    Offender(_INTERFACES, ("telegraf",), _BY_LINK, "take inputs.net and inputs.wireguard out"),
    Offender(_INTERFACES, ("collectd",), _KEEPS_BY_LINK, "take LoadPlugin interface out"),
    Offender(_INTERFACES, ("netdata",), _KEEPS_BY_LINK, _LINKS_MEND),
    Offender(_INTERFACES, ("vnstatd",), _KEEPS_BY_LINK, "stop it, and remove /var/lib/vnstat"),
    Offender(_INTERFACES, ("snmpd",), _BY_LINK, "exclude IF-MIB from its view, or stop it"),
    Offender(
        _INTERFACES,
        ("munin-node", "zabbix_agentd", "zabbix_agent2", "cadvisor", "datadog-agent", "metricbeat",
         "glances", "ganglia-gmond", "gmond", "pmcd", "fluent-bit", "vector", "grafana-agent",
         "alloy", "otelcol", "otelcol-contrib"),
        "can publish counters by link",
        _LINKS_MEND,
    ),
    Offender(
        _INTERFACES,
        ("atop", "sadc", "bandwidthd", "darkstat", "bmon", "iptraf-ng", "dstat"),
        "records or shows counters by link or by host",
        "stop it, and remove what it wrote",
    ),
    Offender(
        _ACCOUNTING,
        ("freeradius", "radiusd", "radsecproxy", "accel-pppd-acct", "tac_plus", "diameterd"),
        "accounts for sessions: who, when, how much, from where",
        "let it authenticate only: take `accounting` out; or move it off this host",
    ),
    Offender(
        _FLOWS,
        ("softflowd", "fprobe", "pmacctd", "nfacctd", "sfacctd", "uacctd", "pmbgpd", "nfcapd",
         "sfcapd", "nfpcapd", "hsflowd", "ntopng", "nprobe", "argus", "yaf", "goflow", "goflow2",
         "flow-capture", "flowd", "ipt_netflow", "ipcad", "fastnetmon", "akvorado", "pktvisord",
         "ndsad"),
        "exports or keeps flows: addresses, ports and times",
        _FLOWS_MEND,
    ),
    Offender(
        _CONNECTIONS,
        ("conntrackd", "ulogd", "ulogd2", "nflog-acctd"),
        "logs or mirrors connections: addresses, ports and times",
        "stop it",
    ),
    Offender(
        _CONNECTIONS,
        ("conntrack",),
        "prints connections as they come",
        "stop it",
        only_with=("-E", "--event", "-L", "--dump"),
    ),
    Offender(
        _CAPTURE,
        ("tcpdump", "tshark", "dumpcap", "wireshark", "suricata", "Suricata-Main", "zeek", "bro",
         "snort", "daemonlogger", "ngrep", "ettercap", "netsniff-ng", "moloch-capture",
         "arkime-capture", "stenotype", "pppoe-sniff", "passivedns", "p0f", "dsniff", "urlsnarf",
         "tcpflow", "justniffer", "ssldump", "xdpcap", "pwru"),
        "reads packets",
        "stop it, and remove what it wrote",
    ),
)  # fmt: skip

# Kernel modules that are offenders by being loaded (/proc/modules).
MODULES = {
    "ipt_NETFLOW": (_FLOWS, "exports flows", "rmmod ipt_NETFLOW, and take its rules out"),
    "xt_NETFLOW": (_FLOWS, "exports flows", "rmmod xt_NETFLOW, and take its rules out"),
    "pf_ring": (_CAPTURE, "hands packets to programs", "rmmod pf_ring"),
}

# Switches of connection tracking, and the value at which they keep nothing.
SWITCHES = {
    "nf_conntrack_acct": "counts bytes by connection",
    "nf_conntrack_timestamp": "keeps when a connection began and ended",
    "nf_conntrack_log_invalid": "logs the addresses of invalid packets",
}
SWITCHES_MEND = "set net.netfilter.{name} to 0 (sysctl)"

# Files in which a scheduled program, not always running, is told to record.
SCHEDULED = {
    "/etc/default/sysstat": (r'^\s*ENABLED="?true', "sysstat", _KEEPS_BY_LINK),
}
