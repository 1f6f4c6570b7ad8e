#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The whole task API with one side ours and the other upstream's (Debian's 1.6, or the one in CTRD_PEER_DIR).
load lib
peer=${CTRD_PEER_DIR:-/usr/bin}
setup() {
	[ -x "$peer/containerd" ] && [ -x "$peer/containerd-shim-runc-v2" ] || skip "upstream's containerd is not in $peer"
	mix=$(mktemp -d /tmp/ctrd-mix.XXXXXX)
	rootfs=$mix/bb
	make_rootfs "$rootfs"
}
teardown() {
	common_teardown
	rm -rf "$mix"
}

# daemon_of DAEMON SHIM: folders of the programs
daemon_of() {
	ln -s "$1/containerd" "$mix/containerd"
	ln -s "$2/containerd-shim-runc-v2" "$mix/containerd-shim-runc-v2"
	daemon_dir=$mix
	common_setup
}

wait_for() { # STATE CONTAINER
	local i
	for i in $(seq 100); do
		[ "$(ctr tasks ls | awk -v c="$2" '$1 == c {print $3}')" = "$1" ] && return 0
		sleep 0.05
	done
	ctr tasks ls >&2
	return 1
}

task_api() {
	ctr events >"$mix/events" 3>&- &
	local events=$!
	sleep 0.3
	# create, start, wait, delete; streams; exit status; terminal and its size
	[ "$(echo in | ctr run --rm $(run_flags) --rootfs "$rootfs" a1 /bin/cat)" = in ]
	run ctr run --rm $(run_flags) --rootfs "$rootfs" a2 /bin/sh -c 'echo out; echo err >&2; exit 9'
	[ "$status" -eq 9 ]
	[[ $output == *out* && $output == *err* ]]
	[[ $(script -qec "stty rows 33 cols 44; $ours/ctr run --rm $(run_flags) --rootfs -t --env PATH=/bin $rootfs a3 /bin/sh -c 'sleep 0.5; busybox stty size'" /dev/null </dev/null) == *"33 44"* ]]
	# a long one: state, pids, exec, stats, pause, resume, kill
	ctr run -d $(run_flags) --rootfs "$rootfs" b1 /bin/sleep 1000
	wait_for RUNNING b1
	[ "$(ctr tasks exec --exec-id e1 b1 /bin/sh -c 'cat; echo done' </dev/null)" = done ]
	run ctr tasks exec --exec-id e2 b1 /bin/sh -c 'exit 4'
	[ "$status" -eq 4 ]
	ctr tasks exec -d --exec-id e3 b1 /bin/sleep 1000
	[ "$(ctr tasks ps b1 | wc -l)" -eq 3 ]
	[[ $(ctr tasks ps b1) == *'exec_id:"e3"'* ]]
	[[ $(ctr tasks metrics b1) == *b1* ]]
	ctr tasks pause b1
	wait_for PAUSED b1
	ctr tasks resume b1
	wait_for RUNNING b1
	ctr tasks kill --exec-id e3 -s KILL b1
	# what must fail
	run ctr tasks rm b1
	[ "$status" -eq 1 ]
	run ctr tasks exec --exec-id bad b1 /bin/nothing
	[ "$status" -ne 0 ]
	# the daemon dies and comes back
	daemon_stop -KILL
	ctr run -d --rootfs "$rootfs" no /bin/true 2>/dev/null && false
	daemon_start
	wait_for RUNNING b1
	[ "$(ctr tasks exec --exec-id e4 b1 /bin/echo again)" = again ]
	ctr tasks kill -s KILL b1
	wait_for STOPPED b1
	run ctr tasks rm b1
	[[ $output == *137* ]]
	ctr containers rm b1
	# logs, and a shim that dies
	ctr run -d $(run_flags) --rootfs --log-uri "file://$mix/log" "$rootfs" c1 /bin/sh -c 'echo logged; sleep 1000'
	for _ in $(seq 100); do [ -s "$mix/log" ] && break; sleep 0.05; done
	[ "$(cat "$mix/log")" = logged ]
	socket=$(sed 's|.*unix://\([^"]*\).*|\1|' "$dir"/state/io.containerd.runtime.v2.task/"$CONTAINERD_NAMESPACE"/c1/address)
	[ -S "$socket" ]
	kill -9 "$(pgrep -f -- "containerd-shim-runc-v2.*-id c1.*$dir|containerd-shim-runc-v2.*$dir.*-id c1")"
	for _ in $(seq 100); do [ -z "$(ls "$dir"/state/io.containerd.runtime.v2.task/"$CONTAINERD_NAMESPACE" 2>/dev/null)" ] && break; sleep 0.05; done
	ctr tasks rm c1 2>/dev/null || true
	ctr containers rm c1
	[ ! -e "$socket" ]
	[ -z "$(ctr containers ls -q)" ]
	assert_clean
}

@test "our daemon, upstream's shim" {
	daemon_of "$ours" "$peer"
	task_api
}

@test "upstream's daemon, our shim" {
	daemon_of "$peer" "$ours"
	task_api
}

@test "a task of upstream's daemon goes on under ours, and back" {
	ln -s "$ours/containerd-shim-runc-v2" "$mix/containerd-shim-runc-v2"
	ln -s "$peer/containerd" "$mix/containerd"
	daemon_dir=$mix
	common_setup
	ctr run -d $(run_flags) --rootfs "$rootfs" m1 /bin/sleep 1000
	daemon_stop
	rm "$mix/containerd"
	ln -s "$ours/containerd" "$mix/containerd"
	daemon_start
	# its record is in upstream's database, which ours leaves alone: the task is known by its bundle only
	[[ $(ctr tasks ls) == *m1*RUNNING* ]]
	ctr containers create $(run_flags) --rootfs "$rootfs" m1 /bin/sleep 1000
	[ "$(ctr tasks exec --exec-id e m1 /bin/echo moved)" = moved ]
	daemon_stop
	rm "$mix/containerd"
	ln -s "$peer/containerd" "$mix/containerd"
	daemon_start
	[[ $(ctr tasks ls) == *m1*RUNNING* ]]
	ctr tasks rm -f m1 || true
	ctr containers rm m1
	assert_clean
}
