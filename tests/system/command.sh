# Runs /srv/command in the guest, says how it ended, and turns the machine off.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
# What udev would load, for the device file; link types come when the kernel asks for them.
modprobe tun

# The ports of virtio_console come from a work queue: the first is for output, the second for the end.
until set -- /dev/vport*p[12] && test -e "$2"; do
  busybox usleep 20000
done
cd /srv/trafficd
status=0
sh /srv/command </dev/null >"$1" 2>&1 || status=$?
echo "$status" >"$2"
# QEMU ends at a reset, and after a suspend hears of no power-off.
exec busybox reboot -f
