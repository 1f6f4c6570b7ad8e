#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
setup() { common_setup; make_image "$dir/bb.tar"; }
teardown() { common_teardown; }

@test "import, list, check, export, import again, remove" {
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
	[ "$(ctr images ls -q)" = demo.local/bb:1 ]
	[ "$(ctr images check -q)" = demo.local/bb:1 ]
	ctr images export "$dir/out.tar" demo.local/bb:1
	tar tf "$dir/out.tar" | grep -qx manifest.json
	ctr images rm --sync demo.local/bb:1
	[ -z "$(ctr content ls -q)" ]
	[ "$(ctr snapshots ls | wc -l)" -eq 1 ]
	ctr images import --snapshotter "$snapshotter" "$dir/out.tar"
	[ "$(ctr images check -q)" = demo.local/bb:1 ]
}

@test "Debian's ctr imports, and unpacks through our differ" {
	peer_ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
	[ "$(ctr images check -q)" = demo.local/bb:1 ]
	peer_ctr images export "$dir/out.tar" demo.local/bb:1
	peer_ctr images rm demo.local/bb:1
}

@test "tag, label, usage" {
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
	ctr images tag demo.local/bb:1 demo.local/other:2
	[ "$(ctr images label demo.local/other:2 a=b)" = a=b ]
	run ctr images usage demo.local/bb:1
	[ "$status" -eq 0 ]
	[[ $output == *sha256:* ]]
	run ctr images tag demo.local/none:1 demo.local/x:1
	[ "$status" -eq 1 ]
	[[ $output == *"not found" ]]
}

@test "mount and unmount" {
	ctr images import --snapshotter "$snapshotter" "$dir/bb.tar"
	mkdir "$dir/mnt"
	ctr images mount "demo.local/bb:1" "$dir/mnt"
	[ -x "$dir/mnt/bin/busybox" ]
	ctr images unmount --rm "$dir/mnt"
	[ -z "$(ls "$dir/mnt")" ]
}

@test "an archive that is cut short leaves nothing" {
	head -c 300000 "$dir/bb.tar" >"$dir/cut.tar"
	run ctr images import "$dir/cut.tar"
	[ "$status" -eq 1 ]
	[ -z "$(ctr images ls -q)" ]
	[ -z "$(ctr leases ls -q)" ]
}

@test "content: ingest, get, label, wrong digest" {
	echo hello | ctr content ingest one
	digest=$(ctr content ls -q)
	[ "$(ctr content get "$digest")" = hello ]
	[ "$(ctr content label "$digest" a=b)" = a=b ]
	echo other >"$dir/other"
	run ctr content ingest --expected-size 7 two <"$dir/other"
	[ "$status" -eq 1 ]
	[ "$output" = 'ctr: failed commit on ref "two": commit failed: "two" failed size validation: 6 != 7: failed precondition' ]
	none=sha256:$(printf '0%.0s' $(seq 64))
	run ctr content ingest --expected-digest "$none" three <"$dir/other"
	[ "$status" -eq 1 ]
	[[ $output == *"unexpected commit digest sha256:"*", expected $none: failed precondition" ]]
	ctr content rm "$digest"
	[ -z "$(ctr content ls -q)" ]
}
