#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib
setup() {
	once
	common_setup
	make_image "$dir/bb.tar"
	registry_start
	mkdir "$dir/layout"
	tar -C "$dir/layout" -xf "$dir/bb.tar"
	host=127.0.0.1:$registry_port
	ref=$host/bb:1
	skopeo copy --insecure-policy --dest-tls-verify=false "oci:$dir/layout" "docker://$ref" >/dev/null
	manifest=$(jq -r '.manifests[0].digest' "$dir/layout/index.json")
}
teardown() { common_teardown; }

@test "fetch brings the content and unpacks nothing" {
	ctr content fetch --plain-http "$ref"
	[ "$(ctr images check | awk 'NR == 2 {print $4, $5, $NF}')" = "complete (2/2) false" ]
	[ "$(ctr snapshots ls | wc -l)" -eq 1 ]
	run ctr content fetch --plain-http "$host/bb:none"
	[ "$status" -eq 1 ]
	[[ $output == *"$host/bb:none: not found" ]]
}

@test "objects and blobs, from a registry to stdout" {
	[ "$(ctr content fetch-object --plain-http "$ref" | sha256sum | cut -d' ' -f1)" = "${manifest#sha256:}" ]
	[ "$(ctr content fetch-blob --plain-http "$ref" "$manifest" | sha256sum | cut -d' ' -f1)" = "${manifest#sha256:}" ]
	run ctr content fetch-blob --plain-http "$ref" "sha256:$(printf '0%.0s' {1..64})"
	[ "$status" -eq 1 ]
	[[ $output == *"not found" ]]
	run ctr content fetch-blob --plain-http "$ref"
	[ "$output" = "ctr: must specify digests" ]
	run ctr content fetch-object --plain-http 127.0.0.1:1/bb:1
	[ "$status" -eq 1 ]
	[[ $output == *"connection refused" ]]
	# nothing went into the store
	[ -z "$(ctr content ls -q)" ]
}

@test "push-object" {
	echo hello | ctr content ingest one
	one=sha256:$(echo hello | sha256sum | cut -d' ' -f1)
	[ "$(ctr content push-object --plain-http "$ref" "$one" text/plain)" = "Pushed $one text/plain" ]
	[ "$(ctr content fetch-blob --plain-http "$ref" "$one")" = hello ]
	run ctr content push-object --plain-http "$ref" "$one" text/plain
	[ "$output" = "ctr: content $one on remote: already exists" ]
	run ctr content push-object --plain-http "$ref" "sha256:$(printf '0%.0s' {1..64})" text/plain
	[[ $output == "ctr: content digest sha256:0000"*": not found" ]]
}

@test "pull --local unpacks from the client" {
	run ctr images pull --plain-http --print-chainid "$ref"
	[ "$output" = 'ctr: "--print-chainid" requires "--local" flag' ]
	run ctr images pull --plain-http --local --print-chainid "$ref"
	[ "$status" -eq 0 ]
	[[ $output == *"unpacking linux/"*" $manifest..."* ]]
	[[ $output == *"image chain ID: sha256:"* ]]
	[ "$(ctr images check -q)" = "$ref" ]
}
