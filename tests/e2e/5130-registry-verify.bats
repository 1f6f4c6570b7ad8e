#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=once
# Verifiers that are asked before a pull, and signatures that come with it.
load lib
setup() {
	verifiers=$(mktemp -d /tmp/ctrd-e2e-verifiers.XXXXXX)
	extra_config="[plugins.'io.containerd.image-verifier.v1.bindir']
  bin_dir = '$verifiers'
  max_verifiers = 2
  per_verifier_timeout = '2s'
[plugins.'io.containerd.transfer.v1.local']
  pull_referrers = true
  max_concurrent_downloads = 2
  max_concurrent_uploaded_layers = 1"
	common_setup
	fault_registry_start
	ref=$host/a/b:1
	digest=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "1").digest' "$dir/faulty/index.json")
}
teardown() {
	common_teardown
	rm -rf "$verifiers"
}

pull() { ctr images pull --plain-http --snapshotter "$snapshotter" "$ref"; }
verifier() {
	printf '#!/bin/sh\n%s\n' "$2" >"$verifiers/$1"
	chmod +x "$verifiers/$1"
}

@test "verifiers" {
	pull >/dev/null
	ctr images rm --sync "$ref"
	verifier 10-args "echo \"\$@\" >$dir/args; cat >$dir/stdin; echo fine"
	pull >/dev/null
	[ "$(cat "$dir/args")" = "-name $ref -digest $digest -stdin-media-type application/vnd.oci.descriptor.v1+json" ]
	[ "$(jq -r .digest "$dir/stdin")" = "$digest" ]
	ctr images rm --sync "$ref"
	verifier 20-no 'echo not signed; exit 4'
	run pull
	[ "$status" -eq 1 ]
	[[ $output == *"image verifier bindir blocked pull of $ref with digest $digest for reason: verifier 20-no rejected image (exit code 4): not signed" ]]
	verifier 20-no 'sleep 60'
	run pull
	[ "$status" -eq 1 ]
	[[ $output == *"blocking pull of $ref with digest $digest: image verifier bindir returned error: failed to call verifier 20-no (runtime 2."*"s): waiting on command to exit: signal: killed" ]]
	[ -z "$(ctr images ls -q)" ]
	assert_nothing_left
	# only the first two are asked
	verifier 15-yes true
	pull >/dev/null
}

@test "signatures come with the image and go with it" {
	local signature
	signature=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "signature").digest' "$dir/faulty/index.json")
	pull >/dev/null
	ctr content get "$signature" | jq -e .subject >/dev/null
	ctr content ls | grep "$digest" | grep "containerd.io/gc.ref.content.referrer.sha256.$(echo "$signature" | cut -c8-19)=$signature"
	ctr images rm --sync "$ref"
	[ -z "$(ctr content ls -q)" ]
	# a registry without the API: the list stands under a tag
	cp "$dir/faulty/index.json" "$dir/index.old"
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d}]}' \
		"$signature" "$(stat -c %s "$dir/faulty/blobs/sha256/${signature#*:}")" >"$dir/list"
	cp "$dir/list" "$dir/faulty/blobs/sha256/$(sha256sum <"$dir/list" | cut -d' ' -f1)"
	jq --arg d "sha256:$(sha256sum <"$dir/list" | cut -d' ' -f1)" --arg t "${digest/:/-}" \
		'.manifests += [{mediaType: "application/vnd.oci.image.index.v1+json", digest: $d, size: 1, annotations: {"org.opencontainers.image.ref.name": $t}}]' \
		"$dir/index.old" >"$dir/faulty/index.json"
	faults '0 GET /referrers/ status 404 {}'
	pull >/dev/null
	ctr content get "$signature" >/dev/null
	ctr images rm --sync "$ref"
	faults '0 GET /referrers/ status 404 {}' '0 GET /manifests/sha256- status 404 {}'
	pull >/dev/null
	run ctr content get "$signature"
	[ "$status" -eq 1 ]
}

@test "so many downloads and uploads at once" {
	faults '0 GET /blobs/ slow 0.2'
	pull >/dev/null
	run grep "^GET .*/blobs/.* [3-9]$" "$dir/faulty/requests"
	[ "$status" -eq 1 ]
	rm "$dir"/faulty/blobs/sha256/*
	faults '0 PUT /blobs/ slow 0.1'
	ctr images push --plain-http "$host/c/d:1" "$ref" >/dev/null
	[ "$(grep -c "^PUT .* 1$" "$dir/faulty/requests")" -eq 5 ] # 3 layers, a configuration, a manifest
}
