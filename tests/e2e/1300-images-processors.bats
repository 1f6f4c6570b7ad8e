#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Stream processors: a layer that a program has to decode before it can be extracted.
load lib

write_config() {
	cat >>"$dir/config.toml" <<-TOML
		[stream_processors.base64]
		accepts = ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted"]
		returns = "application/vnd.oci.image.layer.v1.tar+gzip"
		path = "$dir/decode"
		args = ["--ignore-garbage"]
		env = ["KEY=secret"]
	TOML
}

setup() {
	[ "$snapshotter $runtime" = "overlayfs crun" ] || [ -n "${CTRD_ALL:-}" ] || skip "the same with every runtime and snapshotter"
	common_setup
}
teardown() { common_teardown; }

decoder() {
	printf '#!/bin/sh\n%s\n' "$1" >"$dir/decode"
	chmod 755 "$dir/decode"
}

# An image whose layer is in base64; the configuration's diff id is that of what is inside.
encoded_image() {
	make_image "$dir/plain.tar"
	local oci=$dir/image/oci layer size
	base64 "$dir/image/layer.gz" >"$dir/encoded"
	layer=$(sha256sum "$dir/encoded" | cut -d' ' -f1)
	size=$(stat -c %s "$dir/encoded")
	cp "$dir/encoded" "$oci/blobs/sha256/$layer"
	jq -c --arg d "sha256:$layer" --argjson s "$size" \
		'.layers[0] = {mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", digest: $d, size: $s}' \
		"$dir/image/manifest" >"$dir/manifest"
	layer=$(sha256sum "$dir/manifest" | cut -d' ' -f1)
	size=$(stat -c %s "$dir/manifest")
	cp "$dir/manifest" "$oci/blobs/sha256/$layer"
	jq -c --arg d "sha256:$layer" --argjson s "$size" '.manifests[0].digest = $d | .manifests[0].size = $s' \
		"$oci/index.json" >"$dir/index.json"
	cp "$dir/index.json" "$oci/index.json"
	tar -C "$oci" -cf "$1" .
}

@test "a layer is decoded by its processor, with its arguments, environment and media type" {
	decoder 'echo "$KEY $STREAM_PROCESSOR_MEDIATYPE $*" >>"'"$dir"'/seen"; exec base64 -d "$@"'
	encoded_image "$dir/image.tar"
	ctr images import "$dir/image.tar" >/dev/null
	[ "$(ctr run --rm $(run_flags) demo.local/bb:1 r1 /bin/echo decoded)" = decoded ]
	[ "$(cat "$dir/seen")" = "secret application/vnd.oci.image.layer.v1.tar+gzip+encrypted --ignore-garbage" ]
}

@test "a processor that fails says why, and one that hangs goes with its client; nothing is left" {
	decoder 'cat >/dev/null; echo "no key for this one" >&2; exit 7'
	encoded_image "$dir/image.tar"
	run ctr images import "$dir/image.tar"
	[ "$status" -ne 0 ]
	[[ $output == *'stream processor "base64": no key for this one'* ]]
	[ -z "$(ctr snapshots ls | tail -n +2)" ]
	decoder 'exec sleep 1000'
	run timeout -s INT 3 "$ours/ctr" images import "$dir/image.tar"
	[ "$status" -ne 0 ]
	for _ in $(seq 50); do
		pgrep -f "sleep 1000" -P "$(cat "$dir/pid")" >/dev/null || break
		sleep 0.1
	done
	run pgrep -f "sleep 1000" -P "$(cat "$dir/pid")"
	[ "$status" -ne 0 ]
	decoder 'exec base64 -d'
	ctr images import "$dir/image.tar" >/dev/null
	[ "$(ctr run --rm $(run_flags) demo.local/bb:1 r1 /bin/echo decoded)" = decoded ]
}
