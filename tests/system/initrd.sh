#!/bin/busybox sh
# The first program in the guest: loads what stands between the kernel and its root, unpacks what
# this run brought, and becomes guest.sh. If it fails, the kernel panics and the machine ends.
set -e
/bin/busybox --install /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# In the order in which they need each other.
while read -r module; do
  insmod "/modules/$module"
done </modules/order
mount -t ext4 /dev/vda /sysroot
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /sysroot/run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /sysroot/tmp
tar -x -f /dev/vdb -C /sysroot
umount /sys /proc /dev
exec switch_root /sysroot /bin/sh /srv/guest.sh
