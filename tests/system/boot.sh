#!/bin/sh
# Boots a systemd that shares nothing with the host but the kernel and a read-only /usr.
#
#   unshare --mount boot.sh keep DISK CONSOLE [HOST_FOLDER FOLDER]...
#
# DISK becomes the root folder, the terminal CONSOLE its /dev/console, and every HOST_FOLDER is read-only at FOLDER.
# Prints init's process id as the host sees it. When its stdin ends, also because whoever held the pipe was killed,
# init is killed, which takes the whole machine along, and its control group removed.
set -eu

# On the host, in a mount namespace of its own: outlives the machine and cleans up behind it.
keep() {
    places="/tmp /run /var/tmp /dev"
    HOST_DEVICES=$(stat -c %d / $places | tr '\n' ' ')
    # Mounted only where it is not yet: another mount would reset the options of the host's (nsdelegate).
    groups=$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)
    [ -n "$groups" ] || { groups=/sys/fs/cgroup && mount -t cgroup2 cgroup2 "$groups"; }
    CGROUP=$(mktemp -d "$groups/xtrack-test-XXXXXX")
    chmod 755 "$CGROUP"
    export HOST_DEVICES CGROUP
    unshare --fork --kill-child --pid --mount --uts --ipc --net sh "$0" enter "$@" </dev/null &
    machine=$!
    exec >&-
    cat >/dev/null
    # init itself, not unshare: unshare ends only when init and all that init held are gone.
    init=$(pgrep -P "$machine") || init=$machine
    kill -KILL "$init" 2>/dev/null || :
    wait "$machine" || :
    until find "$CGROUP" -depth -type d -exec rmdir {} +; do
        sleep 0.01
    done
}

# In the new namespaces: the control group must be entered before its namespace is made, that makes it the top one.
enter() {
    echo 0 >"$CGROUP/cgroup.procs"
    exec unshare --cgroup sh "$0" build "$@"
}

build() {
    disk=$1 console=$2
    shift 2
    mount --make-rprivate /
    read -r pid _ </proc/self/stat # /proc is the host's here, and so is the number
    cd "$disk"
    mount --bind . .
    cd "$disk"
    while [ $# -gt 0 ]; do
        mount --bind -o ro "$1" "./$2"
        shift 2
    done
    mount_kernel_folders
    make_devices "$console"
    pivot_root . mnt
    cd /
    umount --lazy /mnt
    check
    [ -e /etc/ld.so.cache ] || ldconfig # finds the interpreter's libpython in its new place
    mask
    mount --make-rshared / # without it, a unit cannot read its LoadCredential=
    echo "$pid"
    # The clock, modules and raw devices belong to the kernel, that is to the host.
    exec env -i PATH="$PATH" container=docker \
        setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio /lib/systemd/systemd --unit=multi-user.target
}

mount_kernel_folders() {
    mount -t proc proc proc
    mount --bind -o ro proc/sys proc/sys
    [ ! -e proc/sysrq-trigger ] || mount --bind -o ro proc/sysrq-trigger proc/sysrq-trigger
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs tmpfs tmp
    mount -t tmpfs tmpfs var/tmp
}

make_devices() {
    mount -t tmpfs -o mode=755 tmpfs dev
    mkdir dev/pts dev/shm dev/mqueue
    mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
    mount -t tmpfs tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    mknod -m 666 dev/null c 1 3
    mknod -m 666 dev/zero c 1 5
    mknod -m 666 dev/full c 1 7
    mknod -m 666 dev/random c 1 8
    mknod -m 666 dev/urandom c 1 9
    mknod -m 666 dev/tty c 5 0
    touch dev/console
    mount --bind "$1" dev/console
}

# Debian's tmpfiles rule `D /tmp` empties /tmp at boot: no systemd starts unless that is surely not the host's.
check() {
    ! grep -E ' (shared|master):' /proc/self/mountinfo || fail "mounts here would show on the host"
    for place in /tmp /run /var/tmp /dev; do
        mountpoint -q "$place" || fail "$place is no mount of its own"
        case " $HOST_DEVICES " in
            *" $(stat -c %d "$place") "*) fail "$place is the host's" ;;
        esac
    done
}

fail() {
    echo "boot.sh: $*: systemd is not started" >&2
    exit 1
}

# What would change the host's kernel or wait for hardware, and the rules that empty /tmp.
mask() {
    mkdir -p /run/systemd/system
    for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-clean.service \
        systemd-tmpfiles-clean.timer systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service \
        systemd-remount-fs.service systemd-sysusers.service systemd-udevd.service systemd-journald-audit.socket \
        getty.target; do
        ln -s /dev/null "/run/systemd/system/$unit"
    done
}

"$@"
