#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# container_* and `ctr tasks metrics`: read by the daemon itself for our shim, asked from a shim of another runtime.
load lib

write_config() {
	config_v4
	cat >>"$dir/config.toml" <<-TOML
		[plugins."io.containerd.server.v1.metrics"]
		address = "127.0.0.1:$port"
	TOML
}

setup() {
	[ "$snapshotter" = overlayfs ] || skip "the same with every snapshotter"
	port=$((20000 + RANDOM % 20000))
	common_setup
	until grep -q "successfully booted" "$dir/log"; do sleep 0.02; done
	rootfs=$dir/bb
	make_rootfs "$rootfs"
}
teardown() {
	if [ -n "${shim:-}" ]; then kill -CONT "$shim" 2>/dev/null || true; fi
	common_teardown
}

scrape() { curl -sS --max-time 10 "http://127.0.0.1:$port/v1/metrics"; }
# the value of the metric $1 of container $2
value() { scrape | awk -v p="^$1.*container_id=\"$2\"" '$0 ~ p {print $NF}' | head -1; }

@test "metrics of a running container, without its shim's help, and none when it is gone" {
	ctr run -d $(run_flags) --memory-limit 50000000 --rootfs "$rootfs" m1 /bin/sh -c 'while :; do :; done'
	sleep 0.3
	if [ -d /sys/fs/cgroup/memory ]; then
		cpu=container_cpu_total_nanoseconds limit=container_memory_usage_limit_bytes
	else
		cpu=container_cpu_usage_usec_microseconds limit=container_memory_usage_limit_bytes
	fi
	[ "$(value container_pids_current m1)" -ge 1 ]
	[ "$(value $limit m1)" = "$((50000000 / 4096 * 4096))" ]
	first=$(value $cpu m1)
	sleep 0.2
	awk -v a="$first" -v b="$(value $cpu m1)" 'BEGIN {exit !(b > a && a > 0)}'
	scrape | grep -q "container_id=\"m1\",.*namespace=\"$CONTAINERD_NAMESPACE\""
	# the shim is stopped: neither the scrape nor `ctr tasks metrics` needs it
	shim=$(pgrep -f -- "containerd-shim-runc-v2.*-id m1.*$dir")
	kill -STOP "$shim"
	[ -n "$(value container_pids_current m1)" ]
	[[ $(ctr --timeout 5s tasks metrics m1) == *"$([ -d /sys/fs/cgroup/memory ] && echo memory.usage_in_bytes || echo memory.usage)"* ]]
	kill -CONT "$shim"
	# an earlier daemon's task: its group is found again
	daemon_stop
	daemon_start
	sleep 0.3
	[ -n "$(value container_pids_current m1)" ]
	ctr tasks rm -f m1
	ctr containers rm m1
	[ -z "$(value container_pids_current m1)" ]
	assert_clean
}

@test "a shim that is not ours is asked in the background, and a mute one stops no scrape" {
	cp "$daemon_dir/containerd-shim-runc-v2" "$dir/containerd-shim-other-v1"
	ctr run -d $(run_flags) --rootfs "$rootfs" own /bin/sleep 1000
	ctr run -d --runtime "$dir/containerd-shim-other-v1" --rootfs "$rootfs" other /bin/sleep 1000
	for _ in $(seq 50); do
		[ -z "$(value container_pids_current other)" ] || break
		sleep 0.05
	done
	[ "$(value container_pids_current other)" = 1 ]
	shim=$(pgrep -f -- "containerd-shim-other-v1.*-id other.*$dir")
	kill -STOP "$shim"
	scrape >/dev/null # asks, and is not answered
	SECONDS=0
	[ -n "$(value container_pids_current own)" ]
	[ "$SECONDS" -lt 2 ]
	kill -CONT "$shim"
	ctr tasks rm -f own other
	ctr containers rm own other
}
