#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=once
load lib
setup() {
	common_setup
	group=/$CONTAINERD_NAMESPACE
}
teardown() {
	common_teardown
	find /sys/fs/cgroup -depth -type d -path "*$group*" -exec rmdir {} \;
}

@test "version, plugins and info" {
	run ctr version
	[ "$status" -eq 0 ]
	[[ $output == *"Server:"* ]]
	run ctr plugins ls
	[ "$status" -eq 0 ]
	[[ $output == *"io.containerd.snapshotter.v1"* ]]
	[[ $output != *" error "* ]]
	ctr info | jq -e '.server.uuid | length == 36'
}

@test "Debian's ctr sees the same" {
	run peer_ctr version
	[ "$status" -eq 0 ]
	[[ $output == *"v2.3.4+c"* ]]
	run peer_ctr plugins ls
	[ "$status" -eq 0 ]
}

@test "namespaces" {
	ctr namespaces create n1 a=b
	run ctr namespaces create n1
	[ "$status" -eq 1 ]
	[ "$output" = 'ctr: namespace "n1": already exists' ]
	[[ $(ctr namespaces ls) == *"n1   a=b"* ]]
	ctr namespaces label n1 a=c
	ctr namespaces ls --format json | jq -e '.[] | select(.name == "n1") | .labels.a == "c"'
	run peer_ctr namespaces rm n1
	[ "$status" -eq 0 ]
	run ctr -n 'a/b' images ls
	[ "$status" -eq 1 ]
	[[ $output == *'identifier "a/b" must match'* ]]
}

@test "leases" {
	id=$(ctr leases create --id l1 x=y)
	[ "$id" = l1 ]
	[ "$(ctr leases ls -q)" = l1 ]
	[ "$(peer_ctr leases ls -q)" = l1 ]
	ctr leases rm --sync l1
	[ -z "$(ctr leases ls -q)" ]
	run ctr leases rm l1
	[ "$status" -eq 1 ]
	[[ $output == *'lease "l1": not found' ]]
}

@test "garbage on the socket costs that connection only" {
	command -v socat >/dev/null || skip "socat is not installed"
	head -c 100000 /dev/urandom | timeout 5 socat - "UNIX-CONNECT:$dir/c.sock" >/dev/null 2>&1 || true
	head -c 100000 /dev/urandom | timeout 5 socat - "UNIX-CONNECT:$dir/c.sock.ttrpc" >/dev/null 2>&1 || true
	ctr version
}

@test "a second daemon on the same root is refused and harms nothing" {
	sed "s|$dir/c.sock|$dir/d.sock|" "$dir/config.toml" >"$dir/second.toml"
	run timeout 3 "$daemon_dir/containerd" --config "$dir/second.toml"
	[ "$status" -ne 0 ]
	ctr version
}

@test "SIGHUP reloads instead of killing" {
	kill -HUP "$(cat "$dir/pid")"
	sleep 0.2
	ctr version
}

# Version 1, also of a hybrid tree.
has_v1() { grep -q '^[1-9]' /proc/self/cgroup; }

@test "a daemon in a cgroup of its own, which is made in all hierarchies of version 1" {
	has_v1 || mkdir -p "/sys/fs/cgroup$group/inner"
	extra_config="[cgroup]
path = \"${group#/}/inner\""
	daemon_stop
	daemon_start
	has_v1 && which='^[1-9]' || which='^0::'
	run grep "$which" "/proc/$daemon/cgroup"
	[ "$status" -eq 0 ]
	for line in "${lines[@]}"; do [[ $line == *":$group/inner" ]]; done
}

# The daemon is refused a group, with $output; $1: what a shell does before.
refused_group() {
	daemon_stop
	printf '[cgroup]\npath = "%s/inner"\n' "$group" >>"$dir/config.toml"
	run timeout 20 unshare -m --propagation private sh -c "$1 "'exec "$@"' sh "$daemon_dir/containerd" --config "$dir/config.toml"
	[ "$status" -eq 1 ]
	[ -z "$(find /sys/fs/cgroup -type d -path "*$group*")" ]
}

@test "a cgroup that cannot be made in one hierarchy is left in none" {
	has_v1 || skip "no cgroup v1"
	last=$(awk '$3 == "cgroup" {print $2}' /proc/mounts | sort | tail -1)
	refused_group "mount -o remount,bind,ro '$last';"
	[[ $output == *"containerd: cgroup \"$group/inner\": mkdir $last$group: read-only file system"* ]]
}

@test "a cgroup that takes no real-time daemon is left, and goes" {
	[ -e /sys/fs/cgroup/cpu/cpu.rt_runtime_us ] || skip "no cgroup v1 with budgets for real-time processes"
	refused_group 'set -- chrt -f 1 "$@";'
	[[ $output == *"containerd: cgroup \"$group/inner\": write /sys/fs/cgroup/cpu$group/inner/cgroup.procs: "* ]]
}
