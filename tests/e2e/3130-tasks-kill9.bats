#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon at random moments of an import, an unpack, a create, an exec, a delete: after a restart what ran
# runs, what was half done is gone or goes on, images are whole, and nothing is left. (Pulls: 5100; each step: 3100.)
load lib
load lib-faults
setup() {
	[ "$runtime-$snapshotter" = crun-overlayfs ] || skip "one combination is enough"
	common_setup
	nap=7${dir//[^0-9]/}$$
	make_image "$dir/bb.tar"
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
}
teardown() { common_teardown; }

images_are_whole() {
	[ "$("$ours/ctr" images check --snapshotter "$snapshotter" | awk 'NR > 1 && $4 != "complete"' | wc -l)" -eq 0 ]
}

# moments N COMMAND...: kills the daemon at N moments of the command, from at once to a bit after its usual time
moments() {
	local n=$1 i began=${EPOCHREALTIME/./} took job
	shift
	"$@"
	took=$((${EPOCHREALTIME/./} - began))
	for i in $(seq "$n"); do
		"$@" &
		job=$!
		sleep "$(awk -v t="$took" -v r="$RANDOM" 'BEGIN {print t / 1e6 * 1.1 * r / 32768}')"
		daemon_stop -KILL
		wait "$job" || true
		daemon_start
		ctr tasks ls | grep -q '^keep .*RUNNING'
		images_are_whole
	done
}

@test "kill -9 at random moments" {
	export CONTAINERD_SNAPSHOTTER=$snapshotter
	ctr run -d $(run_flags) demo.local/bb:1 keep /bin/sleep "$nap"
	moments 6 scenario_life
	moments 4 scenario_import
	# a client repeats what failed, and the work is done
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
	try tasks rm -f c1
	try containers rm c1
	try snapshots rm c1
	[ "$(ctr tasks exec --exec-id e keep /bin/echo alive)" = alive ]
	ctr tasks rm -f keep || true
	ctr containers rm keep
	collect
	wait_for 15 nothing_left || faults_fail "after kills at random moments"
	next_run_works
	images_are_whole
}

@test "40 containers, 16 at a time, twice: nothing grows, every event is in its place" {
	"$BATS_TEST_DIRNAME/../soak/rounds" "$CTRD_BUILD" 40 16 2
}
