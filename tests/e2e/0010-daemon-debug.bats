#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
load lib-faults
setup() {
	[ "$runtime-$snapshotter" = crun-overlayfs ] || skip "one combination is enough"
	common_setup
	daemon_stop
	# what is appended comes into the table [debug]
	extra_config="address = \"$dir/debug.sock\""
	daemon_start
	rootfs=$dir/bb
	make_rootfs "$rootfs"
	nap=7${dir//[^0-9]/}$$
}
teardown() { rm -f "${dir:-/none}"/hang-*; common_teardown; }

@test "the in-flight table: who waits for what, on the debug socket and in the log" {
	printf '#!/bin/sh\nwhile [ -e "%s/hang-create" ]; do sleep 0.1; done\nexec %s "$@"\n' "$dir" "$(command -v "$runtime")" >"$dir/slow"
	chmod +x "$dir/slow"
	touch "$dir/hang-create"
	"$ours/ctr" run -d --runc-binary "$dir/slow" --rootfs "$rootfs" c1 /bin/sleep "$nap" >/dev/null 2>&1 3>&- &
	run_pid=$!
	wait_for 10 pgrep -f "$dir/slow.* create"
	run ctr debug inflight --debug-socket "$dir/debug.sock"
	[ "$status" -eq 0 ]
	[[ ${lines[0]} =~ METHOD\ +NAMESPACE\ +OBJECT\ +AGE\ +STAGE\ +SINCE\ +CHILD ]]
	[[ $output =~ /containerd.services.tasks.v1.Tasks/Create\ +$CONTAINERD_NAMESPACE\ +c1\ +[0-9.]+m?s\ +waits\ for\ the\ shim:\ Create ]]
	ctr debug inflight --debug-socket "$dir/debug.sock" --format json |
		jq -e '.[] | select(.object == "c1" and .stage == "waits for the shim: Create" and .age_ms >= 0 and .child == 0)'
	kill -USR1 "$(cat "$dir/pid")"
	wait_for 5 grep -q 'END calls in flight.*calls=1' "$dir/log"
	grep -q 'msg="in flight".*method=/containerd.services.tasks.v1.Tasks/Create.*object=c1.*stage="waits for the shim: Create"' "$dir/log"
	rm "$dir/hang-create"
	wait_for 10 ended $run_pid
	[ "$(ctr debug inflight --debug-socket "$dir/debug.sock" --format json)" = "[]" ]
	ctr tasks rm -f c1 || true
	ctr containers rm c1
	run ctr debug inflight --debug-socket "$dir/nothing.sock"
	[ "$status" -eq 1 ]
	[[ $output == *"nothing.sock: connect: no such file or directory" ]]
}
