#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
setup() {
	common_setup
	make_image "$dir/bb.tar"
	registry_start
	mkdir "$dir/layout"
	tar -C "$dir/layout" -xf "$dir/bb.tar"
	skopeo copy --insecure-policy --dest-tls-verify=false "oci:$dir/layout" "docker://127.0.0.1:$registry_port/bb:1" >/dev/null
	ref=127.0.0.1:$registry_port/bb:1
}
teardown() { common_teardown; }

@test "pull, run, push" {
	ctr images pull --plain-http --snapshotter "$snapshotter" "$ref"
	[ "$(ctr images check -q)" = "$ref" ]
	[ "$(ctr run --rm $(run_flags) "$ref" p1)" = hello ]
	ctr images push --plain-http "127.0.0.1:$registry_port/pushed:1" "$ref"
	ctr images pull --plain-http --snapshotter "$snapshotter" "127.0.0.1:$registry_port/pushed:1"
}

@test "Debian's ctr pulls" {
	peer_ctr images pull --plain-http --snapshotter "$snapshotter" "$ref"
	[ "$(ctr images check -q)" = "$ref" ]
	peer_ctr content fetch --plain-http "$ref"
}

@test "a name that is not there" {
	run ctr images pull --plain-http "127.0.0.1:$registry_port/none:1"
	[ "$status" -eq 1 ]
	[[ $output == *"127.0.0.1:$registry_port/none:1: not found" ]]
	[ -z "$(ctr leases ls -q)" ]
}

@test "kill -9 in the middle of a pull; the next one is complete" {
	for delay in 0 0.01 0.02 0.05; do
		ctr images pull --plain-http --snapshotter "$snapshotter" "$ref" >/dev/null 2>&1 3>&- &
		sleep $delay
		daemon_stop -KILL
		wait $! || true
		daemon_start
	done
	ctr images pull --plain-http --snapshotter "$snapshotter" "$ref"
	[ "$(ctr images check -q)" = "$ref" ]
	[ "$(ctr run --rm $(run_flags) "$ref" p1)" = hello ]
	# what a killed pull had is kept for the next one by its lease, which expires; without it everything goes
	ctr images rm "$ref"
	for l in $(ctr leases ls -q); do ctr leases rm --sync "$l"; done
	[ -z "$(ctr content ls -q)" ]
	[ -z "$(ctr content active | tail -n +2)" ]
	[ "$(ctr snapshots ls | wc -l)" -eq 1 ]
}
