#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Options of runtimes and of processes, runtime names, user namespaces.
load lib
setup() { common_setup; rootfs=$dir/bb; make_rootfs "$rootfs"; }
teardown() { common_teardown; }

with_image() {
	make_image "$dir/bb.tar"
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar" >/dev/null
}

@test "names of runtimes" {
	ctr run --rm --runtime "$ours/containerd-shim-runc-v2" $(run_flags) --rootfs "$rootfs" c1 /bin/true
	ln -s "$ours/containerd-shim-runc-v2" "$dir/containerd-shim-mine-v7"
	run ctr run --rm --runtime "$dir/nothing" --rootfs "$rootfs" c1 /bin/true
	[ "$status" -eq 1 ]
	[[ $output == *"failed to resolve runtime path: invalid custom binary path: stat $dir/nothing: no such file or directory" ]]
	run ctr run --rm --runtime a/b --rootfs "$rootfs" c1 /bin/true
	[[ $output == *"invalid runtime name a/b, correct runtime name should be either format like \`io.containerd.runc.v2\` or a full path to the binary" ]]
	for name in runtime.v1.linux runc.v1; do
		[ $name != runc.v1 ] || ! command -v containerd-shim-runc-v1 >/dev/null || continue # Debian's 1.6 still has it
		run ctr run --rm --runtime io.containerd.$name --rootfs "$rootfs" c1 /bin/true
		[ "$status" -eq 1 ]
		[[ $output == *"runtime \"io.containerd.$name\" binary not installed "*": file does not exist (this runtime was removed in containerd 2.0, io.containerd.runc.v2 takes its place)" ]]
	done
	assert_clean
	# X.vN is containerd-shim-X-vN in the daemon's PATH
	daemon_stop
	PATH=$dir:$PATH daemon_start
	[ "$(ctr run --rm --runtime io.containerd.mine.v7 --rootfs "$rootfs" c1 /bin/echo named 2>&1)" = named ] || [ "$runtime" = crun ]
	assert_clean
}

@test "what a runtime tells of itself" {
	run ctr plugins inspect-runtime $(run_flags)
	[ "$status" -eq 0 ]
	[[ $output == *'"Name": "io.containerd.runc.v2"'* ]]
	[ "$runtime" = crun ] || [[ $output == *'"ociVersionMax"'* ]]
	run ctr plugins inspect-runtime --runc-binary nothing-there
	[ "$status" -eq 1 ]
	[[ $output == *'failed to look up the path of \"nothing-there\"'* ]]
}

@test "the directory of ctr install comes first in a shim's search paths, and the current directory is in none" {
	daemon_stop
	unset LD_LIBRARY_PATH
	daemon_start
	ctr run -d $(run_flags) --rootfs "$rootfs" c1 /bin/sleep 100
	environment=$(tr '\0' '\n' <"/proc/$(pgrep -f -- "containerd-shim-runc-v2.*-id c1 .*$dir/c.sock")/environ")
	[ "$(sed -n 's/^LD_LIBRARY_PATH=//p' <<<"$environment")" = /opt/containerd/lib ]
	[[ $environment == *$'\nPATH=/opt/containerd/bin:'* ]]
	ctr tasks rm -f c1
	ctr containers rm c1
	assert_clean
}

@test "what a runtime is configured with: a file's name reaches the shim, as does garbage" {
	cat >"$dir/shim" <<-SH
		#!/bin/sh
		for a in "\$@"; do [ "\$a" = start ] && cat >$dir/input; done
		exit 3
	SH
	chmod +x "$dir/shim"
	run ctr run --rm --runtime "$dir/shim" --runtime-config-path /etc/some/config.toml --rootfs "$rootfs" c1 /bin/true
	[ "$status" -eq 1 ]
	[[ $output == *"failed to start shim: start failed: : exit status 3" ]]
	grep -aq runtimeoptions.v1.Options "$dir/input"
	grep -aq /etc/some/config.toml "$dir/input"
	# the runc shim takes no such options
	run ctr run --rm --runtime "$ours/containerd-shim-runc-v2" --runtime-config-path /x --rootfs "$rootfs" c1 /bin/true
	[ "$status" -eq 1 ]
	[[ $output == *'unsupported runtime options type "runtimeoptions.v1.Options": invalid argument' ]]
	assert_clean
}

@test "the runtime's root, --no-pivot, --systemd-cgroup" {
	cat >"$dir/spy" <<-SH
		#!/bin/sh
		echo "\$@" >>$dir/calls
		for a in "\$@"; do shift; [ "\$a" = --systemd-cgroup ] || set -- "\$@" "\$a"; done
		exec $runtime "\$@"
	SH
	chmod +x "$dir/spy"
	ctr run --rm --runc-binary "$dir/spy" --runc-root "$dir/rr" --no-pivot --rootfs "$rootfs" c1 /bin/true
	grep -q -- "--root $dir/rr/$CONTAINERD_NAMESPACE .* create .*--no-pivot" "$dir/calls"
	! grep -q -- --systemd-cgroup "$dir/calls"
	ctr run --rm --runc-binary "$dir/spy" --runc-systemd-cgroup --cgroup "/$CONTAINERD_NAMESPACE/x" --rootfs "$rootfs" c1 /bin/true
	grep -q -- "--systemd-cgroup create" "$dir/calls"
	run ctr run --rm --runc-binary "$dir/spy" --runc-systemd-cgroup --rootfs "$rootfs" c1 /bin/true
	[[ $output == *"option --runc-systemd-cgroup requires --cgroup to be set"* ]]
	assert_clean
}

@test "limits, and exec with its own user and directory" {
	[ "$(ctr run --rm $(run_flags) --rlimit-nofile 100:200 --rootfs "$rootfs" c1 /bin/sh -c 'ulimit -Hn')" = 200 ]
	ctr run -d $(run_flags) --rootfs --env A=b "$rootfs" c1 /bin/sleep 1000
	[ "$(ctr tasks exec --exec-id e1 --user bob --cwd /tmp c1 /bin/sh -c 'id -u; pwd; echo $A' | tr '\n' ' ')" = "1000 /tmp b " ]
	[ "$(ctr tasks exec --exec-id e2 --user 5:6 c1 /bin/sh -c 'id -u; id -g' | tr '\n' ' ')" = "5 6 " ]
	run ctr tasks exec --exec-id e3 --cwd /nothing c1 /bin/true
	[ "$status" -ne 0 ]
	[[ $(script -qec "$ours/ctr tasks exec --exec-id e4 -t c1 /bin/sh -c 'test -t 0 && echo a-tty'" /dev/null </dev/null) == *a-tty* ]]
	ctr tasks rm -f c1
	ctr containers rm c1
	assert_clean
}

@test "a user namespace: id maps of the mount, or changed owners" {
	with_image
	chmod 711 "$dir" # the mapped root must get to its rootfs
	maps="--uidmap 0:100000:65536 --gidmap 0:100000:65536"
	for how in "" --remap-labels; do
		[ -z "$how" ] || [ "$snapshotter" = native ] || ctr plugins ls | grep -q overlayfs
		ctr run -d --snapshotter "$snapshotter" $(run_flags) $maps $how demo.local/bb:1 u1 /bin/sleep 1000
		pid=$(ctr tasks ls | awk '$1 == "u1" {print $2}')
		[ "$(awk '{print $2}' "/proc/$pid/uid_map")" = 100000 ]
		[ "$(stat -c %u "/proc/$pid")" = 100000 ]
		[ "$(ctr tasks exec --exec-id e u1 /bin/sh -c 'echo x >/f && id -u && ls -n /bin/busybox' | awk 'NR == 1 {print $1} NR == 2 {print $3}' | tr '\n' ' ')" = "0 0 " ]
		ctr tasks rm -f u1
		ctr containers rm u1
	done
	run ctr run --rm --snapshotter "$snapshotter" $(run_flags) --uidmap 0:100000 --gidmap 0:1:1 demo.local/bb:1 u1 /bin/true
	[ "$status" -eq 1 ]
	[[ $output == *'user namespace mappings require the format `container-id:host-id:size`' ]]
	run ctr run --rm --snapshotter "$snapshotter" $(run_flags) --uidmap 5:100000:10 --gidmap 5:100000:10 demo.local/bb:1 u1 /bin/true
	[ "$status" -eq 1 ]
	[[ $output == *'container ID 0 cannot be mapped to a host ID' ]]
	[ "$(ctr snapshots --snapshotter "$snapshotter" ls | grep -c Active)" -eq 0 ]
	assert_clean
}

@test "hooks of a config file" {
	ctr oci spec >"$dir/spec.json"
	python3 - "$dir/spec.json" "$rootfs" "$dir" "$CONTAINERD_NAMESPACE" <<-'PY'
		import json, sys
		path, rootfs, dir, ns = sys.argv[1:]
		s = json.load(open(path))
		s["root"] = {"path": rootfs}
		s["ociVersion"] = "1.0.2"
		s["process"]["args"] = ["/bin/true"]
		s["process"]["terminal"] = False
		s["linux"]["cgroupsPath"] = "/%s/h1" % ns
		s["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", "cat >%s/stopped" % dir]}]}
		json.dump(s, open(path, "w"))
	PY
	ctr run --rm $(run_flags) --config "$dir/spec.json" h1
	grep -q '"id": *"h1"' "$dir/stopped"
	assert_clean
}

@test "containerd publish, for shims of daemons without an events socket" {
	ctr events >"$dir/events" 3>&- &
	events=$!
	sleep 0.5
	# an Any with containerd.events.TaskOOM{container_id: "c1"}
	printf '\x0a\x19containerd.events.TaskOOM\x12\x04\x0a\x02c1' |
		"$ours/containerd" --address "$dir/c.sock" publish --topic /tasks/oom --namespace "$CONTAINERD_NAMESPACE"
	run sh -c "printf nonsense | '$ours/containerd' --address '$dir/c.sock' publish --topic /tasks/oom --namespace x"
	[ "$status" -eq 1 ]
	run sh -c "printf '' | '$ours/containerd' --address '$dir/c.sock' publish --topic bad --namespace x"
	[ "$status" -eq 1 ]
	sleep 0.2
	kill $events
	grep -q "$CONTAINERD_NAMESPACE /tasks/oom .*c1" "$dir/events"
}
