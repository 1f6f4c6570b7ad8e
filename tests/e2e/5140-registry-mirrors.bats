#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=once
# A mirror that breaks, hangs and lies, before a registry that does not.
load lib
extra_config='[timeouts]
"io.containerd.timeout.registry.response" = "1s"
"io.containerd.timeout.registry.stall" = "1s"'
setup() {
	common_setup
	registry_start
	good_port=$registry_port
	fault_registry_start
	skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:$dir/faulty:1" "docker://127.0.0.1:$good_port/a/b:1"
	mkdir -p "$dir/hosts/reg.example"
	cat >"$dir/hosts/reg.example/hosts.toml" <<-TOML
		server = "http://127.0.0.1:$good_port"
		[host."http://$host"]
		  capabilities = ["pull", "resolve"]
	TOML
	ref=reg.example/a/b:1
}
teardown() { common_teardown; }

@test "what is wrong with a mirror is made good by the next" {
	local fault
	run ctr images pull --hosts-dir "$dir/hosts" --snapshotter "$snapshotter" "$ref"
	ctr images rm --sync "$ref" >/dev/null
	for fault in '0 * . reset' '0 * . status 500' '0 HEAD . garbage' '0 HEAD . silly-digest' '0 GET /blobs/ status 404 {}' \
		'0 GET /blobs/ cut' '0 GET /blobs/ short' '0 GET /blobs/ wrong' '0 GET /blobs/ long' '0 GET /blobs/ endless' \
		'0 GET /manifests/ wrong' '0 GET /blobs/ redirect-loop' '0 GET /blobs/ hang-body'; do
		faults "$fault"
		ctr images pull --hosts-dir "$dir/hosts" --snapshotter "$snapshotter" "$ref" >/dev/null
		[ "$(ctr images check -q)" = "$ref" ]
		assert_nothing_left
		ctr images rm --sync "$ref" >/dev/null
		[ -z "$(ctr content ls -q)" ]
	done
	# what a layer was while it was a lie is in no snapshot
	faults '0 GET /blobs/ wrong'
	ctr images pull --hosts-dir "$dir/hosts" --snapshotter "$snapshotter" "$ref" >/dev/null
	daemon_stop
	[ "$snapshotter" != overlayfs ] || "$BATS_TEST_DIRNAME/check-root.py" "$dir/root" "$dir/faulty"
}
