#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Shims that are mute, half dead, without children, or answer nonsense: isolated, told of and cleaned up; nobody else and
# not the daemon's start waits for them.
load lib
load lib-faults
setup() {
	[ "$runtime-$snapshotter" = crun-overlayfs ] || skip "one combination is enough"
	extra_config='[timeouts]
"io.containerd.timeout.shim.load" = "1s"
"io.containerd.timeout.task.state" = "500ms"'
	common_setup
	rootfs=$dir/bb
	make_rootfs "$rootfs"
	nap=7${dir//[^0-9]/}$$
	base=$dir/state/io.containerd.runtime.v2.task/$CONTAINERD_NAMESPACE
	sick=()
}
teardown() {
	[ ${#sick[@]} -eq 0 ] || kill "${sick[@]}" 2>/dev/null || true
	pgrep -f -- "containerd-shim-runc-v2.*${dir:-none}" | xargs -r kill -CONT
	common_teardown
}

shim_pid() { pgrep -f -- "containerd-shim-runc-v2.*-id $1 .*$dir/c.sock"; }

# fake_bundle ID MODE: as an earlier daemon left it
fake_bundle() {
	mkdir -p "$base/$1/rootfs"
	echo '{}' >"$base/$1/config.json"
	echo "$daemon_dir/containerd-shim-runc-v2" | tr -d '\n' >"$base/$1/shim-binary-path"
	case $2 in
	nobody) ;;
	nothing) return ;;
	nonsense) echo 'not { json' >"$base/$1/bootstrap.json"; return ;;
	*)
		"$BATS_TEST_DIRNAME/sick-shim.py" listen "$dir/$1.sock" "$2" 3>&- &
		sick+=($!)
		wait_for 30 test -S "$dir/$1.sock"
		;;
	esac
	printf '{"version":3,"address":"unix://%s","protocol":"ttrpc"}' "$dir/$1.sock" >"$base/$1/bootstrap.json"
}

shims_gone() { ! shim_pid stopped && ! shim_pid childless; }
line_of() { grep -n -m 1 "$1" "$dir/log" | cut -d : -f 1; }
bundles_are() { [ "$(ls "$base" | tr '\n' ' ')" = "$1" ]; }

@test "start-up waits for no sick shim, and cleans them up" {
	ctr run -d $(run_flags) --rootfs "$rootfs" good /bin/sleep "$nap"
	ctr run -d $(run_flags) --rootfs "$rootfs" stopped /bin/sleep "$nap"
	ctr run -d $(run_flags) --rootfs "$rootfs" childless /bin/sleep "$nap"
	daemon_stop -KILL
	kill -STOP "$(shim_pid stopped)"
	kill -STOP "$(shim_pid childless)"
	kill -KILL "$(cat "$base/childless/init.pid")"
	for mode in mute deaf garbage half nobody nothing nonsense; do fake_bundle "sick-$mode" $mode; done
	: >"$dir/log"
	daemon_start
	# all at once, while the sick ones have their deadlines
	[[ $(ctr tasks ls) == *good*RUNNING* ]]
	[ "$(ctr run --rm $(run_flags) --rootfs "$rootfs" other /bin/echo fine)" = fine ]
	wait_for 30 bundles_are "good "
	# it was ready before it knew of these that they do not answer
	for c in sick-mute sick-deaf stopped; do
		[ "$(line_of "successfully booted")" -lt "$(line_of "failed to load shim.*id=$c ")" ]
	done
	# the processes of the two, and their containers, are gone as well
	wait_for 30 shims_gone
	[ "$(pgrep -cf "sleep $nap")" -eq 1 ]
	[ "$(ctr tasks exec --exec-id e good /bin/echo alive)" = alive ]
	ctr tasks rm -f good || true
	ctr containers rm good stopped childless
	assert_clean
}

@test "a shim that goes mute: UNKNOWN, with what to do; kill and delete end it" {
	ctr run -d $(run_flags) --rootfs "$rootfs" good /bin/sleep "$nap"
	for c in m1 m2; do
		ctr run -d $(run_flags) --rootfs "$rootfs" $c /bin/sleep "$nap"
		kill -STOP "$(shim_pid $c)"
	done
	run ctr tasks ls
	[ "$status" -eq 0 ]
	[[ $output == *good*RUNNING* ]]
	[[ $output =~ m1\ +0\ +UNKNOWN ]]
	[[ $output == *'ctr: the shim of task m1 does not answer; `ctr tasks rm -f m1` ends it'* ]]
	timeout 20 "$ours/ctr" tasks rm -f m1 || true
	timeout 20 "$ours/ctr" tasks kill -s KILL m2
	wait_for 30 bundles_are "good "
	[ "$(pgrep -cf "sleep $nap")" -eq 1 ]
	ctr containers rm m1 m2
	[ "$(ctr run --rm $(run_flags) --rootfs "$rootfs" m1 /bin/echo again)" = again ]
	ctr tasks rm -f good || true
	ctr containers rm good
	assert_clean
}

@test "a connection that breaks is made again, and the state is read anew" {
	ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sleep "$nap"
	address=$(jq -r .address "$base/c1/bootstrap.json")
	"$BATS_TEST_DIRNAME/sick-shim.py" cut "$(cat "$dir/pid")" "${address#unix://}"
	wait_for 30 grep -q "connected to the shim again" "$dir/log"
	[[ $(ctr tasks ls) == *c1*RUNNING* ]]
	[ "$(ctr tasks exec --exec-id e c1 /bin/echo alive)" = alive ]
	kill -KILL "$(cat "$base/c1/init.pid")"
	wait_for 30 stopped c1
	run ctr tasks rm c1
	[[ $output == *"non-zero exit code 137"* ]]
	ctr containers rm c1
	assert_clean
}

@test "exits and their events outlast a daemon that is away" {
	ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sh -c "sleep 1; exit 5"
	daemon_stop -KILL
	sleep 9 # longer than the shim's first tries
	daemon_start
	ctr events >"$dir/events" 3>&- &
	events=$!
	[[ $(ctr tasks ls) == *c1*STOPPED* ]]
	run ctr tasks rm c1
	[[ $output == *"non-zero exit code 5"* ]]
	kill "$events"
	ctr containers rm c1
	assert_clean
}

@test "a daemon that ends while it loads harms nobody" {
	ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sleep "$nap"
	daemon_stop
	CONTAINERD_FAILPOINTS='task.load=delay(700)' daemon_start
	daemon_stop
	daemon_start
	[ "$(ctr tasks exec --exec-id e c1 /bin/echo alive)" = alive ]
	ctr tasks rm -f c1 || true
	ctr containers rm c1
	assert_clean
}

@test "an exit is told once, though the shim dies after it, and the daemon between" {
	ctr events >"$dir/events" 3>&- &
	events=$!
	sleep 0.3
	ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sh -c 'exit 7'
	ctr run -d $(run_flags) --rootfs "$rootfs" c2 /bin/sh -c 'exit 8'
	wait_for 30 stopped c1
	wait_for 30 stopped c2
	wait_for 30 grep -q 8 "$base/c2/exit"
	kill -KILL "$(shim_pid c1)"
	wait_for 30 bundles_are "c2 "
	sleep 0.5
	[ "$(grep -c '/tasks/exit.*"c1"' "$dir/events")" -eq 1 ]
	grep -q '/tasks/delete.*"c1".*"exit_status":7' "$dir/events"
	daemon_stop -KILL
	wait "$events" || true
	kill -KILL "$(shim_pid c2)"
	daemon_start
	wait_for 30 bundles_are ""
	grep -q "cleaning up" "$dir/log"
	ctr containers rm c1 c2
	assert_clean
}
