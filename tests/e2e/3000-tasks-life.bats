#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
setup() { common_setup; rootfs=$dir/bb; make_rootfs "$rootfs"; }
teardown() { common_teardown; }

@test "run an image, with its exit status" {
	make_image "$dir/bb.tar"
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
	[ "$(ctr run --rm $(run_flags) demo.local/bb:1 c1)" = hello ]
	run ctr run --rm $(run_flags) demo.local/bb:1 c1 /bin/sh -c 'exit 7'
	[ "$status" -eq 7 ]
	run peer_ctr run --rm --snapshotter "$snapshotter" $(run_flags) demo.local/bb:1 c1 /bin/id
	[ "$status" -eq 0 ]
	[[ $output == "uid=0(root) gid=0(root) groups="* ]]
	[ -z "$(ctr containers ls -q)" ]
	assert_clean
}

@test "users and groups of the image" {
	run ctr run --rm $(run_flags) --rootfs --user bob "$rootfs" c1 /bin/id
	[ "$output" = "uid=1000(bob) gid=1001(bob) groups=10(wheel),1001(bob)" ]
	run ctr run --rm $(run_flags) --rootfs --user 4294967296 "$rootfs" c1 /bin/id
	[ "$status" -eq 1 ]
	[[ $output == *'invalid USER value "4294967296": uid out of range' ]]
	assert_clean
}

@test "stdin, stdout and stderr" {
	[ "$(echo piped | ctr run --rm $(run_flags) --rootfs "$rootfs" c1 /bin/cat)" = piped ]
	ctr run --rm $(run_flags) --rootfs "$rootfs" c1 /bin/sh -c 'echo out; echo err >&2' >"$dir/out" 2>"$dir/err"
	[ "$(cat "$dir/out")" = out ]
	[ "$(cat "$dir/err")" = err ]
}

@test "a detached task: exec, ps, metrics, pause, resume, kill, rm" {
	peer_ctr run -d $(run_flags) --rootfs "$rootfs" d1 /bin/sleep 1000
	[[ $(ctr tasks ls) == *RUNNING* ]]
	[ "$(ctr tasks exec --exec-id e1 d1 /bin/echo hi)" = hi ]
	[ "$(echo in | ctr tasks exec --exec-id e2 d1 /bin/cat)" = in ]
	run peer_ctr tasks exec --exec-id e3 d1 /bin/sh -c 'exit 3'
	[ "$status" -eq 3 ]
	[ "$(peer_ctr tasks ps d1 | wc -l)" -eq 2 ]
	[[ $(peer_ctr tasks metrics d1) == *pids.current* ]]
	ctr tasks pause d1
	[[ $(peer_ctr tasks ls) == *PAUSED* ]]
	ctr tasks resume d1
	run ctr tasks rm d1
	[ "$status" -eq 1 ]
	[[ $output == *"task must be stopped before deletion: running: failed precondition" ]]
	ctr tasks kill -s KILL d1
	for _ in $(seq 100); do [[ $(ctr tasks ls) == *STOPPED* ]] && break; sleep 0.05; done
	peer_ctr tasks rm d1 || true
	ctr containers rm d1
	assert_clean
}

@test "attach; FIFOs go with the process that they were made for" {
	flags="$(run_flags) --fifo-dir $dir/fifos"
	n_fifo_dirs() { ls "$dir/fifos" | wc -l; }
	ctr run -d $flags --rootfs "$rootfs" c1 /bin/sh -c 'while :; do echo tick; sleep 0.1; done'
	[ "$(n_fifo_dirs)" -eq 1 ]
	ctr tasks exec -d --fifo-dir "$dir/fifos" --exec-id e1 c1 /bin/true
	[ "$(n_fifo_dirs)" -eq 2 ]
	for _ in $(seq 100); do ctr tasks rm --exec-id e1 c1 2>"$dir/err" && break; sleep 0.05; done
	[ "$(n_fifo_dirs)" -eq 1 ]
	run ctr tasks exec --fifo-dir "$dir/fifos" --exec-id e2 c1 /bin/sh -c 'exit 3'
	[ "$status" -eq 3 ]
	run ctr tasks exec --fifo-dir "$dir/fifos" --exec-id e3 c1 /bin/nothere
	[ "$status" -eq 1 ]
	run ctr tasks exec --fifo-dir "$dir/fifos" --exec-id e4 nothere /bin/true
	[ "$status" -eq 1 ]
	[[ $output == *'container "nothere" in namespace'*'not found' ]]
	[ "$(n_fifo_dirs)" -eq 1 ]

	"$ours/ctr" tasks attach c1 >"$dir/out" 2>&1 3>&- &
	client=$!
	for _ in $(seq 200); do grep -q tick "$dir/out" && break; sleep 0.05; done
	ctr tasks kill -s KILL c1
	status=0
	wait "$client" || status=$?
	[ "$status" -eq 137 ]
	grep -q tick "$dir/out"
	[ "$(ctr tasks ls -q)" = "" ]
	[ "$(n_fifo_dirs)" -eq 0 ]

	ctr containers rm c1
	ctr run -d $flags --rootfs "$rootfs" c2 /bin/true
	for _ in $(seq 100); do [[ $(ctr tasks ls) == *STOPPED* ]] && break; sleep 0.05; done
	ctr containers rm c2
	[ "$(n_fifo_dirs)" -eq 0 ]
	assert_clean
}

@test "events come in order" {
	ctr events >"$dir/events" 3>&- &
	events=$!
	sleep 0.3
	ctr run --rm $(run_flags) --rootfs "$rootfs" ev /bin/true
	sleep 0.3
	kill $events
	topics=$(awk '{print $6}' "$dir/events" | grep /tasks/ | tr '\n' ' ')
	[ "$topics" = "/tasks/create /tasks/start /tasks/exit /tasks/delete " ]
}

@test "a missing command, runtime and binary say so and leave nothing" {
	run ctr run --rm $(run_flags) --rootfs "$rootfs" c1 /bin/nothing
	[ "$status" -eq 1 ]
	[[ $output == *"OCI runtime create failed"* ]]
	run ctr run --rm --runtime io.containerd.nope.v1 --rootfs "$rootfs" c1 /bin/true
	[ "$status" -eq 1 ]
	[[ $output == *'runtime "io.containerd.nope.v1" binary not installed "containerd-shim-nope-v1": file does not exist' ]]
	run ctr run --rm --runc-binary /nonexistent --rootfs "$rootfs" c1 /bin/true
	[ "$status" -eq 1 ]
	[ -z "$(ctr containers ls -q)" ]
	assert_clean
}

@test "names that must not be" {
	for id in a/b .. "$(printf 'x%.0s' $(seq 77))"; do
		run ctr run --rm $(run_flags) --rootfs "$rootfs" "$id" /bin/true
		[ "$status" -eq 1 ]
		[[ $output == *identifier* ]]
	done
	assert_clean
}

@test "one of two creates at once wins" {
	ctr containers create $(run_flags) --rootfs "$rootfs" twin /bin/sleep 1000
	ctr tasks start -d $(run_flags) twin >"$dir/a" 2>&1 3>&- & a=$!
	ctr tasks start -d $(run_flags) twin >"$dir/b" 2>&1 3>&- & b=$!
	ok=0
	wait $a && ok=$((ok + 1))
	wait $b && ok=$((ok + 1))
	[ $ok -eq 1 ]
	grep -q "task twin: already exists" "$dir/a" "$dir/b"
}

@test "kill -9 of the daemon: tasks go on, exits are not lost, dead shims are cleaned up" {
	for i in 1 2 3; do ctr run -d $(run_flags) --rootfs "$rootfs" k$i /bin/sleep 1000; done
	ctr run -d $(run_flags) --rootfs "$rootfs" short /bin/sh -c 'sleep 1; exit 5'
	daemon_stop -KILL
	pkill -9 -f -- "containerd-shim-runc-v2.*-id k3 .*$dir|containerd-shim-runc-v2.*$dir.*-id k3" || true
	sleep 1.2
	daemon_start
	[[ $(ctr tasks ls) == *k1*RUNNING* ]]
	[ "$(ctr tasks exec --exec-id e k1 /bin/echo alive)" = alive ]
	[[ $(ctr tasks ls | grep short) == *STOPPED* ]]
	run ctr tasks rm short
	[[ $output == *"non-zero exit code 5"* ]]
	for c in k1 k2 k3; do
		ctr tasks rm -f $c || true
		ctr containers rm $c
	done
	assert_clean
}

@test "40 containers, 8 at a time" {
	export -f ctr run_flags
	export ours rootfs runtime
	seq 40 | xargs -P 8 -I{} bash -c 'ctr run -d $(run_flags) --rootfs "$rootfs" s{} /bin/sleep 1000'
	[ "$(ctr tasks ls -q | wc -l)" -eq 40 ]
	seq 40 | xargs -P 8 -I{} bash -c 'ctr tasks rm -f s{} 2>/dev/null; ctr containers rm s{}'
	[ -z "$(ctr containers ls -q)" ]
	assert_clean
}
