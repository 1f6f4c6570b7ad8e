#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
setup() {
	once
	common_setup
	make_image "$dir/bb.tar"
	ctr images import "$dir/bb.tar"
	ref=demo.local/bb:1
	manifest=$(ctr images ls | awk 'NR == 2 {print $3}')
	chain=$(ctr snapshots ls | awk 'NR == 2 {print $1}')
}
teardown() { common_teardown; }

@test "inspect shows the tree, with --content the documents" {
	run ctr images inspect "$ref"
	[ "${lines[0]}" = "$ref" ]
	[[ ${lines[1]} == "│    Created: "*" +0000 UTC" ]]
	[[ ${lines[3]} == "└── application/vnd.oci.image.manifest.v1+json @$manifest ("*" bytes)" ]]
	[[ ${lines[4]} == "    ├── application/vnd.oci.image.config.v1+json @sha256:"* ]]
	[[ ${lines[5]} == "    └── application/vnd.oci.image.layer.v1.tar+gzip @sha256:"* ]]
	run ctr images inspect --content "$ref"
	[[ $output == *'│         "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",'* ]]
	run ctr images inspect none.local/none:1
	[ "$status" -eq 1 ]
	[ "$output" = 'ctr: image "none.local/none:1": not found' ]
}

@test "convert makes plain layers that run, and keeps them" {
	digest=$(ctr images convert --uncompress "$ref" demo.local/plain:1)
	[ "$digest" != "$manifest" ]
	ctr content get "$digest" | jq -e '.layers[0].mediaType == "application/vnd.oci.image.layer.v1.tar"'
	[ "$(ctr images check -q | sort | tail -1)" = demo.local/plain:1 ]
	[ -z "$(ctr leases ls -q)" ]
	# nothing but the new image holds its documents
	ctr images rm --sync "$ref"
	[ "$(ctr run --rm $(run_flags) demo.local/plain:1 c1)" = hello ]
	# nothing to convert: the same target
	[ "$(ctr images convert demo.local/plain:1 demo.local/same:1)" = "$digest" ]
	run ctr images convert none.local/none:1 demo.local/x:1
	[ "$output" = 'ctr: image "none.local/none:1": not found' ]
	run ctr images convert demo.local/plain:1
	[ "$output" = "ctr: src and target image need to be specified" ]
}

@test "a layer that is no gzip at all is not converted, and nothing is left" {
	# the manifest says gzip of a layer that is broken in the middle
	mkdir "$dir/layout"
	tar -C "$dir/layout" -xf "$dir/bb.tar"
	layer=$(jq -r '.layers[0].digest | ltrimstr("sha256:")' "$dir/layout/blobs/sha256/${manifest#sha256:}")
	head -c 5000 "$dir/layout/blobs/sha256/$layer" >"$dir/short"
	broken=$(sha256sum "$dir/short" | cut -d' ' -f1)
	ctr content ingest short <"$dir/short"
	jq -c ".layers[0].digest = \"sha256:$broken\" | .layers[0].size = 5000" "$dir/layout/blobs/sha256/${manifest#sha256:}" >"$dir/manifest"
	mv "$dir/short" "$dir/layout/blobs/sha256/$broken"
	m=$(sha256sum "$dir/manifest" | cut -d' ' -f1)
	mv "$dir/manifest" "$dir/layout/blobs/sha256/$m"
	jq -c ".manifests[0].digest = \"sha256:$m\" | .manifests[0].size = $(stat -c %s "$dir/layout/blobs/sha256/$m") | .manifests[0].annotations[\"io.containerd.image.name\"] = \"demo.local/broken:1\"" \
		"$dir/layout/index.json" >"$dir/index" && mv "$dir/index" "$dir/layout/index.json"
	tar -C "$dir/layout" -cf "$dir/broken.tar" .
	ctr images import --no-unpack "$dir/broken.tar"
	run ctr images convert --uncompress demo.local/broken:1 demo.local/x:1
	[ "$status" -eq 1 ]
	[ "$output" = "ctr: failed to uncompress sha256:$broken: unexpected EOF" ]
	[ -z "$(ctr images ls -q name==demo.local/x:1)" ]
	[ -z "$(ctr leases ls -q)" ]
}

@test "prune takes what no container uses" {
	ctr images tag "$ref" demo.local/unused:1
	ctr containers create $(run_flags) "$ref" c1
	run ctr images prune
	[ "$output" = 'ctr: No images pruned. `image prune` requires --all to be specified.' ]
	[ "$(ctr images prune --all)" = demo.local/unused:1 ]
	[ "$(ctr images ls -q)" = "$ref" ]
}

@test "install copies binaries, and replaces only when told" {
	ctr install --path "$dir/opt" "$ref"
	[ -x "$dir/opt/bin/busybox" ]
	[ "$(readlink "$dir/opt/bin/sh")" = busybox ]
	run ctr install --path "$dir/opt" "$ref"
	[ "$status" -eq 1 ]
	[[ $output == "ctr: cannot replace bin/"*" in $dir/opt" ]]
	ctr install --replace --path "$dir/opt" "$ref"
	[ "$(ctr snapshots ls | wc -l)" -eq 2 ]
	[ -z "$(ctr leases ls -q)" ]
}

@test "content edit" {
	echo hello | ctr content ingest one
	one=sha256:$(echo hello | sha256sum | cut -d' ' -f1)
	[ "$(EDITOR="sed -i s/hello/world/" ctr content edit "$one")" = "sha256:$(echo world | sha256sum | cut -d' ' -f1)" ]
	run env EDITOR=false "$ours/ctr" content edit "$one"
	[ "$output" = "ctr: exit status 1" ]
	run ctr content edit "$one"
	[ "$output" = "ctr: editor is required" ]
}

@test "snapshots diff and unpack" {
	ctr snapshots prepare work "$chain"
	mkdir "$dir/mnt"
	ctr images mount --rw "$ref" "$dir/mnt"
	echo new >"$dir/mnt/file"
	[ "$(ctr snapshots diff "$dir/mnt" | tar -tz)" = file ]
	[ -z "$(ctr snapshots diff work | tar -tz)" ]
	ctr images unmount --rm "$dir/mnt"
	run ctr snapshots diff nothing
	[ "$output" = "ctr: snapshot nothing does not exist: not found" ]
	ctr snapshots rm work
	ctr snapshots rm "$chain"
	run ctr snapshots unpack "$manifest"
	[ "$output" = "unpacking $manifest (application/vnd.oci.image.manifest.v1+json)...done" ]
	[ "$(ctr snapshots ls | awk 'NR == 2 {print $1}')" = "$chain" ]
	run ctr snapshots unpack "sha256:$(printf '0%.0s' {1..64})"
	[ "$output" = "ctr: manifest not found" ]
	# the views that were compared are gone
	[ "$(ctr snapshots ls | wc -l)" -eq 2 ]
}
