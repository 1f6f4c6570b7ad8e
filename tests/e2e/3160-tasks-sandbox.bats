#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The sandbox API: store, controller, and the shim's own sandbox service.
load lib
setup() { common_setup; rootfs=$dir/bb; make_rootfs "$rootfs"; }
teardown() {
	local s
	for s in $("$ours/ctr" sandboxes ls 2>/dev/null | awk 'NR > 1 {print $1}'); do
		for c in $("$ours/ctr" containers ls -q); do "$ours/ctr" tasks rm -f "$c" >/dev/null 2>&1 || true; done
		"$ours/ctr" sandboxes rm -f "$s" >/dev/null 2>&1 || true
	done
	common_teardown
}

ns_of() { readlink "/proc/$1/ns/$2"; }
shims() { pgrep -f -- "containerd-shim-runc-v2.*$dir" | wc -l; }

# A spec that lets containers of the test join the sandbox's namespaces.
pause_spec() {
	printf '{"ociVersion":"1.0.2","hostname":"pod1","linux":{"namespaces":[{"type":"ipc"},{"type":"uts"},{"type":"network"},{"type":"mount"}]}}' >"$dir/pod.json"
}

@test "a sandbox without a process: pause, containers in its shim and its namespaces" {
	pause_spec
	ctr events >"$dir/events" 3>&- &
	events=$!
	sleep 0.5
	[ "$(ctr sandboxes run $(run_flags) "$dir/pod.json" sb1)" = sb1 ]
	[[ $(ctr sandboxes ls) == *sb1*"+0000 UTC"*io.containerd.runc.v2* ]]
	[[ $(ctr sandboxes info sb1) == *'"Sandboxer": "shim"'* ]]
	pause=$(pgrep -x -P "$(pgrep -f -- "containerd-shim-runc-v2.*-id sb1.*$dir")" pause)
	[ "$(ns_of "$pause" uts)" != "$(ns_of self uts)" ]
	[ "$(nsenter -t "$pause" -u hostname)" = pod1 ]

	for i in 1 2 3; do
		ctr run -d $(run_flags) --sandbox sb1 --rootfs --with-ns "network:/proc/$pause/ns/net" --with-ns "uts:/proc/$pause/ns/uts" "$rootfs" c$i /bin/sleep 1000
	done
	[ "$(shims)" -eq 1 ]
	[ "$(ns_of "$(ctr tasks ls | awk '$1 == "c2" {print $2}')" net)" = "$(ns_of "$pause" net)" ]
	# one leaves, the sandbox and the others stay
	ctr tasks rm -f c1
	ctr containers rm c1
	[ "$(shims)" -eq 1 ]
	[ "$(ctr tasks exec --exec-id e2 c2 /bin/echo there)" = there ]
	ctr tasks rm -f c2 && ctr tasks rm -f c3
	ctr containers rm c2 c3
	[ "$(shims)" -eq 1 ]
	ctr sandboxes rm sb1
	[ "$(ctr sandboxes ls | wc -l)" -eq 1 ]
	! kill -0 "$pause" 2>/dev/null
	kill $events
	grep -q /sandboxes/create "$dir/events"
	grep -q /sandboxes/start "$dir/events"
	assert_clean
	[ -z "$(ls "$dir"/state/io.containerd.sandbox.controller.v1.shim/"$CONTAINERD_NAMESPACE")" ]
}

@test "a sandbox with a process is run by the runtime; containers left in it go with it, their exits told once" {
	printf '{"ociVersion":"1.0.2","root":{"path":"%s"},"process":{"args":["/bin/sleep","1000"],"cwd":"/","user":{"uid":0,"gid":0}},"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],"linux":{"cgroupsPath":"/%s/sb2","namespaces":[{"type":"mount"},{"type":"pid"}]}}' \
		"$rootfs" "$CONTAINERD_NAMESPACE" >"$dir/pod.json"
	ctr sandboxes run $(run_flags) "$dir/pod.json" sb2
	ctr run -d $(run_flags) --sandbox sb2 --rootfs "$rootfs" c1 /bin/sleep 1000
	[ "$(shims)" -eq 1 ]
	ctr events >"$dir/events" 3>&- &
	events=$!
	sleep 0.2
	ctr sandboxes rm sb2
	for _ in $(seq 100); do [ -z "$(ctr tasks ls -q)" ] && break; sleep 0.05; done
	[ -z "$(ctr tasks ls -q)" ]
	sleep 0.2
	kill $events
	[ "$(grep /tasks/exit "$dir/events" | grep -c '"c1"')" -eq 1 ]
	[ "$(grep /tasks/delete "$dir/events" | grep -c '"c1"')" -eq 1 ]
	ctr containers rm c1
	# the shim has answered before it ends, and the daemon then cleans up after its tasks
	for _ in $(seq 100); do [ "$(shims)" -eq 0 ] && break; sleep 0.05; done
	assert_clean
}

@test "sandboxes survive the daemon, and tasks in them; a shim that is killed takes all down" {
	pause_spec
	ctr sandboxes run $(run_flags) "$dir/pod.json" sb3
	ctr run -d $(run_flags) --sandbox sb3 --rootfs "$rootfs" c1 /bin/sleep 1000
	daemon_stop -KILL
	daemon_start
	[[ $(ctr tasks ls) == *c1*RUNNING* ]]
	ctr run -d $(run_flags) --sandbox sb3 --rootfs "$rootfs" c2 /bin/sleep 1000
	[ "$(shims)" -eq 1 ]
	ctr tasks rm -f c2
	ctr containers rm c2
	[ "$(ctr tasks exec --exec-id e c1 /bin/echo alive)" = alive ]
	kill -9 "$(pgrep -f -- "containerd-shim-runc-v2.*-id sb3.*$dir")"
	for _ in $(seq 100); do [ -z "$(ls "$dir"/state/io.containerd.*/"$CONTAINERD_NAMESPACE" | grep -v :)" ] && break; sleep 0.05; done
	[ -z "$(ctr tasks ls -q)" ]
	ctr containers rm c1
	ctr sandboxes rm sb3
	assert_clean
}

@test "what cannot be: no sandbox, twice, a missing runtime, a namespace that is not there" {
	pause_spec
	run ctr run -d $(run_flags) --sandbox gone --rootfs "$rootfs" c1 /bin/sleep 1000
	[ "$status" -eq 0 ] # as upstream: a pod of an older daemon
	ctr tasks rm -f c1
	ctr containers rm c1
	ctr sandboxes run $(run_flags) "$dir/pod.json" sb4
	run ctr sandboxes run $(run_flags) "$dir/pod.json" sb4
	[ "$status" -eq 1 ]
	[[ $output == *'already exists'* ]]
	ctr sandboxes rm sb4
	run ctr sandboxes run --runtime io.containerd.nope.v1 "$dir/pod.json" sb5
	[ "$status" -eq 1 ]
	[[ $output == *'failed to start new shim for sandbox sb5: failed to resolve runtime path: runtime "io.containerd.nope.v1" binary not installed "containerd-shim-nope-v1": file does not exist' ]]
	printf '{"linux":{"namespaces":[{"type":"network","path":"/proc/1/ns/nothing"}]}}' >"$dir/bad.json"
	run ctr sandboxes run "$dir/bad.json" sb6
	[ "$status" -eq 1 ]
	[[ $output == *'failed to start sandbox "sb6": failed to start sandbox sb6: /proc/1/ns/nothing: No such file or directory' ]]
	run ctr sandboxes info sb6
	[ "$status" -eq 1 ]
	[[ $output == *"not found" ]]
	[ "$(ctr sandboxes ls | wc -l)" -eq 1 ]
	assert_clean
	[ -z "$(ls "$dir"/state/io.containerd.sandbox.controller.v1.shim/"$CONTAINERD_NAMESPACE" 2>/dev/null)" ]
}
