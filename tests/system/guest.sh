# Process 1 in the guest: makes it a host and becomes command.sh, or becomes systemd, which does the
# same. If it fails before, the kernel panics and the machine ends.
set -e
read -r process </srv/process-1 || true
if [ "$process" = systemd ]; then
  exec /lib/systemd/systemd --unit=command.service
fi
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
hostname debian
ip link set lo up
exec sh /srv/command.sh
