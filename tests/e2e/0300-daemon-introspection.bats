#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the daemon tells of itself: plugins, runtimes, deprecations, warnings about its configuration; a namespace's defaults.
load lib

write_config() {
	cat >>"$dir/config.toml" <<-TOML
		[timeouts]
		"io.containerd.timeout.task.state" = "4s"
		"io.containerd.timeout.shim.lode" = "4s"
		[plugins."io.containerd.internal.v1.tracing"]
		service_name = "x"
		[plugins."io.containerd.tracing.processor.v1.otlp"]
		endpoint = "http://127.0.0.1:1"
	TOML
}

setup() {
	[ "$snapshotter" = overlayfs ] || skip "the same with every snapshotter"
	common_setup
}
teardown() { common_teardown; }

@test "plugins with their states, exports and capabilities" {
	run ctr plugins ls
	[[ $output =~ io.containerd.monitor.container.v1" "+restart" "+-" "+ok ]]
	[[ $output =~ io.containerd.monitor.task.v1" "+cgroups" "+linux/[a-z0-9]+" "+ok ]]
	[[ $output =~ io.containerd.server.v1" "+metrics" "+-" "+skip ]]
	[[ $output =~ io.containerd.metrics.v1" "+grpc-prometheus" "+-" "+ok ]]
	run ctr plugins ls -d id==overlayfs
	[[ $output == *rebase* && $output == *"$dir/root/io.containerd.snapshotter.v1.overlayfs"* ]]
	run ctr plugins ls -d id==task
	[[ $output == *log-uri-schemes*fifo,binary,binary-v2,file* ]]
}

@test "a runtime's version and features, by the name, by its path, and one that is not there" {
	run ctr plugins inspect-runtime $(run_flags)
	[ "$status" -eq 0 ]
	[ "$(jq -r .Name <<<"$output")" = io.containerd.runc.v2 ]
	[[ $(jq -r .Version.Version <<<"$output") == *2.3.4* ]]
	[ "$(jq '.Features.ociVersionMin != null' <<<"$output")" = true ] || [ "$runtime" = crun ]
	[ "$(ctr plugins inspect-runtime --runtime "$daemon_dir/containerd-shim-runc-v2" | jq -r .Name)" = io.containerd.runc.v2 ]
	run ctr plugins inspect-runtime --runtime io.containerd.nothing.v1
	[ "$status" -ne 0 ]
	[[ $output == *containerd-shim-nothing-v1* ]]
}

@test "deprecations in use, and warnings about timeouts and tracing" {
	if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
		[[ $(ctr deprecations list) == *cgroup-v1* ]]
		ctr deprecations list --format json | jq -e '.[] | select(.id == "io.containerd.deprecation/cgroup-v1") | .message' >/dev/null
	fi
	[[ $(ctr deprecations list) == *tracing-service-config* ]]
	[[ $(ctr deprecations list) == *tracing-processor-config* ]]
	grep -q 'ignoring unknown timeout .*io.containerd.timeout.shim.lode.*did you mean .*io.containerd.timeout.shim.load' "$dir/log"
	! grep -q 'unknown timeout .*task.state' "$dir/log"
	grep -q 'OpenTelemetry is not built in' "$dir/log"
	ctr plugins ls | grep -qE 'io.containerd.internal.v1 +tracing +- +skip'
}

@test "a namespace's default snapshotter" {
	make_image "$dir/image.tar"
	ctr images import "$dir/image.tar" >/dev/null
	ctr namespaces label "$CONTAINERD_NAMESPACE" containerd.io/defaults/snapshotter=native
	CONTAINERD_SNAPSHOTTER= ctr run --rm $(run_flags) demo.local/bb:1 d1 /bin/true
	[ -n "$(ctr snapshots --snapshotter native ls | tail -n +2)" ]
	ctr namespaces label "$CONTAINERD_NAMESPACE" containerd.io/defaults/snapshotter=nothing
	CONTAINERD_SNAPSHOTTER= run ctr snapshots ls
	[ "$status" -ne 0 ]
	[[ $output == *nothing* ]]
}
