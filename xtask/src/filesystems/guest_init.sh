#!/bin/bash
# The first program of a user-mode Linux guest, whose root is this machine's own through hostfs: what it mounts is its own.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs -o mode=755 run /run; mount -t tmpfs mnt /mnt
mkdir -p /dev/shm /dev/pts; mount -t tmpfs shm /dev/shm; mount -t devpts pts /dev/pts
mkdir -p /run/lock /run/rpcbind /mnt/shared; hostname "g$GUEST"; ulimit -n 65536; export TMPDIR=/dev/shm
ip link set lo up; ip addr add "$ADDRESS/24" dev vec0; ip link set vec0 up
exec "$AGENT" 7000
