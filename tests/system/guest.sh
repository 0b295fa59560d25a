# Process 1 in the guest: makes it a host as systemd would, runs /srv/command, says how it ended,
# and turns the machine off. If it fails before, the kernel panics and the machine ends.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
hostname debian
ip link set lo up
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
exec busybox poweroff -f
