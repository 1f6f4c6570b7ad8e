#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A world that does not cooperate: runtimes that hang, disks that are full or broken, readers that do not read. Each
# costs its own container only, says so, and leaves nothing behind. With crun on overlayfs; what the runtime has a part in
# with runc on native as well.
load lib
load lib-faults
setup() {
	case $runtime-$snapshotter in
	crun-overlayfs) ;;
	runc-native) [[ $BATS_TEST_DESCRIPTION == *runtime* || $BATS_TEST_DESCRIPTION == *cgroup* ]] || skip "once is enough" ;;
	*) skip "one combination with each runtime is enough" ;;
	esac
	dir=
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	before_daemon() { :; }
	case $BATS_TEST_DESCRIPTION in
	*"/run is full"*) before_daemon() { mkdir -p "$dir/state" && mount -t tmpfs -o size=2m,mode=0711 tmpfs "$dir/state"; } ;;
	*"full disk"*) before_daemon() { disk_mount "$dir/disk" "$dir/root" 24; } ;;
	*"broken disk"*) before_daemon() { disk_mount "$dir/disk" "$dir/root" 48; } ;;
	esac
	eval "hostile_$(declare -f daemon_start)"
	daemon_start() { unset -f daemon_start; before_daemon; hostile_daemon_start; }
	common_setup
	eval "$(declare -f hostile_daemon_start | sed '1s/hostile_//')"
	rootfs=$dir/bb
	make_rootfs "$rootfs"
	ln -sf busybox "$rootfs/bin/dd"
	ln -sf busybox "$rootfs/bin/yes"
	nap=7${dir//[^0-9]/}$$
}
teardown() {
	[ -n "${dir:-}" ] || return 0
	rm -f "$dir"/hang-*
	common_teardown
}

# disk_mount IMAGE DIRECTORY MIB: an ext4 of its own
disk_mount() {
	truncate -s "$3M" "$1"
	mkfs.ext4 -qF "$1"
	mkdir -p "$2"
	mount -o loop "$1" "$2"
}

# A runtime whose command $1 hangs while hang-$1 is there.
hanging_runtime() {
	cat >"$dir/hanging" <<-SH
		#!/bin/sh
		for a; do
			case \$a in create | start | exec | kill | delete | state | ps | pause) verb=\$a; break ;; esac
		done
		while [ -e "$dir/hang-\$verb" ]; do sleep 0.1; done
		exec $(command -v "$runtime") "\$@"
	SH
	chmod +x "$dir/hanging"
}

others_work() { [ "$(timeout 40 "$ours/ctr" run --rm $(run_flags) --rootfs "$rootfs" other /bin/echo fine)" = fine ]; }

is_clean() {
	! pgrep -f -- "containerd-shim-runc-v2.*$dir" >/dev/null &&
		[ -z "$(ls "$dir"/state/io.containerd.runtime.v2.task/"$CONTAINERD_NAMESPACE" 2>/dev/null)" ] &&
		[ -z "$(find /sys/fs/cgroup/*/"$CONTAINERD_NAMESPACE" -mindepth 1 -maxdepth 1 -type d 2>/dev/null)" ]
}

@test "a runtime that hangs in create: kill ends it" {
	hanging_runtime
	touch "$dir/hang-create"
	"$ours/ctr" run -d --runc-binary "$dir/hanging" --rootfs "$rootfs" c1 /bin/sleep "$nap" >"$dir/out" 2>&1 3>&- &
	run_pid=$!
	wait_for 30 pgrep -f "$dir/hanging.* create"
	others_work
	wait_for 30 ctr tasks kill -s KILL c1
	wait_for 30 ended $run_pid
	grep -q "OCI runtime create failed" "$dir/out"
	ctr containers rm c1 || true
	wait_for 30 is_clean
}

@test "a runtime that hangs in create: the client goes away" {
	hanging_runtime
	touch "$dir/hang-create"
	run timeout 2 "$ours/ctr" run -d --runc-binary "$dir/hanging" --rootfs "$rootfs" c1 /bin/sleep "$nap"
	[ "$status" -ne 0 ]
	wait_for 30 is_clean
	others_work
	rm "$dir/hang-create"
	ctr containers rm c1 || true
	[ "$(ctr run --rm --runc-binary "$dir/hanging" --rootfs "$rootfs" c1 /bin/echo again)" = again ]
}

@test "a runtime that hangs in start, exec, kill, delete: what is asked again is done" {
	hanging_runtime
	ctr containers create --runc-binary "$dir/hanging" --rootfs "$rootfs" c1 /bin/sleep "$nap"
	touch "$dir/hang-start"
	run timeout 1 "$ours/ctr" tasks start -d c1
	[ "$status" -ne 0 ]
	rm "$dir/hang-start"
	ctr tasks rm -f c1 || true
	ctr tasks start -d c1
	touch "$dir/hang-exec"
	run timeout 1 "$ours/ctr" tasks exec --exec-id e1 c1 /bin/echo hi
	[ "$status" -ne 0 ]
	others_work
	rm "$dir/hang-exec"
	[ "$(timeout 40 "$ours/ctr" tasks exec --exec-id e2 c1 /bin/echo hi)" = hi ]
	touch "$dir/hang-kill"
	run timeout 1 "$ours/ctr" tasks kill -s KILL c1
	[ "$status" -ne 0 ]
	rm "$dir/hang-kill"
	ctr tasks kill -s KILL c1 || true
	wait_for 30 stopped c1
	touch "$dir/hang-delete"
	run timeout 1 "$ours/ctr" tasks rm c1
	[ "$status" -ne 0 ]
	others_work
	rm "$dir/hang-delete"
	run timeout 40 "$ours/ctr" tasks rm c1
	[[ $status -eq 137 || $output == *"137"* || $output == *"not found"* ]]
	ctr containers rm c1
	wait_for 30 is_clean
}

@test "a frozen cgroup: kill and delete work" {
	[ -d /sys/fs/cgroup/freezer ] || skip "no freezer of cgroup v1"
	ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sleep "$nap"
	echo FROZEN >"/sys/fs/cgroup/freezer/$CONTAINERD_NAMESPACE/c1/freezer.state"
	others_work
	timeout 40 "$ours/ctr" tasks kill -s KILL c1
	wait_for 30 stopped c1
	ctr tasks rm c1 || true
	ctr containers rm c1
	wait_for 30 is_clean
}

@test "a reader that never reads: the container waits, kill and delete work" {
	"$ours/ctr" run $(run_flags) --rootfs "$rootfs" c1 /bin/yes >/dev/null 2>&1 3>&- &
	reader=$!
	wait_for 30 running c1
	kill -STOP "$reader"
	sleep 0.5
	others_work
	timeout 40 "$ours/ctr" tasks kill -s KILL c1
	wait_for 30 stopped c1
	timeout 40 "$ours/ctr" tasks rm c1 || true
	kill -KILL "$reader"
	ctr containers rm c1
	wait_for 30 is_clean
}

@test "a client that dies: the container goes on and can be attached to" {
	mkfifo "$dir/in"
	"$ours/ctr" run $(run_flags) --rootfs "$rootfs" c1 /bin/cat <"$dir/in" >"$dir/out" 2>&1 3>&- &
	client=$!
	exec 9>"$dir/in"
	echo one >&9
	wait_for 30 grep -q one "$dir/out"
	kill -KILL "$client"
	exec 9>&-
	sleep 0.3
	[ "$(status_of c1)" = RUNNING ]
	timeout 40 "$ours/ctr" tasks kill -s KILL c1
	wait_for 30 stopped c1
	ctr tasks rm c1 || true
	ctr containers rm c1
	wait_for 30 is_clean
}

@test "a log file that is deleted" {
	ctr run -d $(run_flags) --log-uri "file://$dir/c1.log" --rootfs "$rootfs" c1 /bin/sh -c "while echo line; do sleep 0.05; done"
	wait_for 30 grep -q line "$dir/c1.log"
	rm "$dir/c1.log"
	sleep 0.3
	[ "$(status_of c1)" = RUNNING ]
	ctr tasks kill -s KILL c1
	wait_for 30 stopped c1
	ctr tasks rm c1 || true
	ctr containers rm c1
	wait_for 30 is_clean
}

@test "/run is full: an error that says so, nothing left, and all is well when there is room again" {
	ctr run -d $(run_flags) --rootfs "$rootfs" old /bin/sleep "$nap"
	dd if=/dev/zero of="$dir/state/filler" bs=4k 2>/dev/null || true
	run ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sleep "$nap"
	[ "$status" -eq 1 ]
	[[ $output == *"no space left on device"* ]]
	ctr version >/dev/null
	timeout 40 "$ours/ctr" tasks kill -s KILL old
	wait_for 30 stopped old
	ctr tasks rm old || true
	ctr containers rm old
	wait_for 30 is_clean
	rm "$dir/state/filler"
	ctr containers rm c1 || true
	others_work
	wait_for 30 is_clean
}

@test "a full disk: an error that says so, running containers go on, and all is well when there is room again" {
	ctr run -d $(run_flags) --rootfs "$rootfs" old /bin/sleep "$nap"
	dd if=/dev/zero of="$dir/root/filler" bs=4k 2>/dev/null || true
	dd if=/dev/zero of="$dir/root/filler2" bs=512 2>/dev/null || true
	failed=0
	for i in $(seq 40); do
		run ctr containers create $(run_flags) --label "filler=$(printf 'x%.0s' $(seq 3000))" --rootfs "$rootfs" "full$i" /bin/true
		[ "$status" -eq 0 ] || { failed=1; break; }
	done
	[ "$failed" -eq 1 ]
	[[ $output == *"no space left on device"* ]]
	[ "$(status_of old)" = RUNNING ]
	timeout 40 "$ours/ctr" tasks kill -s KILL old
	wait_for 30 stopped old
	rm "$dir/root/filler" "$dir/root/filler2"
	ctr tasks rm old || true
	for c in $(ctr containers ls -q); do ctr containers rm "$c"; done
	others_work
	wait_for 30 is_clean
}

@test "a broken disk below the daemon: it stays up, what runs can be killed" {
	ctr run -d $(run_flags) --rootfs "$rootfs" old /bin/sleep "$nap"
	sync
	truncate -s 1M "$dir/disk"
	echo 3 >/proc/sys/vm/drop_caches
	run timeout 60 "$ours/ctr" containers create $(run_flags) --rootfs "$rootfs" c1 /bin/true
	[ "$status" -ne 0 ]
	[[ $output == *"input/output error"* || $output == *"disk I/O error"* || $output == *"read-only file system"* ]]
	ctr version >/dev/null
	pkill -KILL -f "sleep $nap"
	truncate -s 48M "$dir/disk"
}

@test "a volume that answers EIO: the container hears it, and is killed and deleted" {
	disk_mount "$dir/volume" "$dir/mnt" 8
	dd if=/dev/urandom of="$dir/mnt/data" bs=1M count=4 2>/dev/null
	sync
	ctr run -d $(run_flags) --mount "type=bind,src=$dir/mnt,dst=/mnt,options=rbind:rw" --log-uri "file://$dir/mnt/log" \
		--rootfs "$rootfs" c1 /bin/sh -c "while :; do dd if=/mnt/data of=/dev/null bs=4096 2>&1; sleep 0.1; done"
	truncate -s 64k "$dir/volume"
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	[ "$(status_of c1)" = RUNNING ]
	others_work
	timeout 40 "$ours/ctr" tasks kill -s KILL c1
	wait_for 30 stopped c1
	timeout 40 "$ours/ctr" tasks rm c1 || true
	ctr containers rm c1
	wait_for 30 is_clean
	umount -l "$dir/mnt"
}

@test "a logging program that dies" {
	printf '#!/bin/sh\nexit 1\n' >"$dir/logger"
	chmod +x "$dir/logger"
	ctr run -d $(run_flags) --log-uri "binary://$dir/logger" --rootfs "$rootfs" c1 /bin/sh -c 'trap "" PIPE; while :; do echo x; sleep 0.05; done'
	sleep 0.3
	[ "$(status_of c1)" = RUNNING ]
	ctr tasks kill -s KILL c1
	wait_for 30 stopped c1
	ctr tasks rm c1 || true
	ctr containers rm c1
	wait_for 30 is_clean
}

@test "a logging program that hangs: kill ends the create" {
	printf '#!/bin/sh\nexec sleep %s\n' "$nap" >"$dir/logger"
	chmod +x "$dir/logger"
	"$ours/ctr" run -d $(run_flags) --log-uri "binary://$dir/logger" --rootfs "$rootfs" c1 /bin/true >"$dir/out" 2>&1 3>&- &
	run_pid=$!
	wait_for 30 pgrep -f "sleep $nap"
	others_work
	wait_for 30 ctr tasks kill -s KILL c1
	wait_for 30 ended $run_pid
	grep -q "canceled" "$dir/out"
	ctr containers rm c1 || true
	wait_for 30 is_clean
	! pgrep -f "sleep $nap"
}

@test "an exec whose children hold its streams ends all the same" {
	ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sleep "$nap"
	run timeout 40 "$ours/ctr" tasks exec --exec-id e1 c1 /bin/sh -c 'sleep 100 & echo hi'
	[ "$status" -eq 0 ]
	[ "$output" = hi ]
	[ "$(timeout 40 "$ours/ctr" tasks exec --exec-id e1 c1 /bin/echo again)" = again ]
	ctr tasks kill -s KILL c1
	wait_for 30 stopped c1
	ctr tasks rm c1 || true
	ctr containers rm c1
	wait_for 30 is_clean
}
