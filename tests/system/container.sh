# The first process of a container's own namespaces: lays a writable layer in RAM over the root that
# all share, and boots it until it is turned off. What is mounted here ends with this process.
set -e
root=$1 machine=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/layer /run/work /run/machine
mount -t overlay -o "lowerdir=$root,upperdir=/run/layer,workdir=/run/work" overlay /run/machine
status=133
# 133 asks to be started again, which is a reboot (systemd-nspawn(1), --keep-unit).
while [ "$status" = 133 ]; do
  status=0
  # systemd-nspawn makes cgroups beside itself, where no other process may be.
  (echo 0 >"$machine/cgroup.procs" && exec "$@") || status=$?
done
exit "$status"
