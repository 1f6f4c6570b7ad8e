#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=once
# What others read of us and we of them: skopeo, umoci, buildah, Debian's ctr; registries and archives.
load lib
setup() {
	common_setup
	fault_registry_start
	layout=$dir/faulty
}
teardown() { common_teardown; }

pull() { ctr images pull --plain-http --snapshotter "$snapshotter" "$host/a/b:$1" >/dev/null; }
digest_of() { ctr images ls "name==$1" | awk 'NR == 2 { print $3 }'; }
copy() { skopeo copy -q --insecure-policy --src-tls-verify=false "$@"; }
# The digest that skopeo sees.
seen() { skopeo inspect --raw --tls-verify=false "$1" | sha256sum | cut -d' ' -f1; }

@test "skopeo and Debian's ctr read what we push" {
	registry_start
	local kind target=127.0.0.1:$registry_port/pushed
	for kind in 1 plain list artifact; do
		pull "$kind"
		ctr images push --plain-http "$target:$kind" "$host/a/b:$kind" >/dev/null
		[ "sha256:$(seen "docker://$target:$kind")" = "$(digest_of "$host/a/b:$kind")" ]
	done
	# all platforms of an index
	ctr images pull --plain-http --all-platforms --snapshotter "$snapshotter" "$host/a/b:index" >/dev/null
	ctr images push --plain-http "$target:index" "$host/a/b:index" >/dev/null
	copy --all "docker://$target:index" "oci:$dir/out:index"
	[ "$(jq -r .manifests[0].digest "$dir/out/index.json")" = "$(digest_of "$host/a/b:index")" ]
	# by digest, without a tag
	ctr images push --plain-http "127.0.0.1:$registry_port/untagged@$(digest_of "$host/a/b:1")" "$host/a/b:1" >/dev/null
	[ "sha256:$(seen "docker://127.0.0.1:$registry_port/untagged@$(digest_of "$host/a/b:1")")" = "$(digest_of "$host/a/b:1")" ]
	peer_ctr -n peer images pull --plain-http --snapshotter "$snapshotter" "$target:1"
	peer_ctr -n peer images pull --plain-http --snapshotter "$snapshotter" "$target:list"
}

@test "a push sends what is not there, from the nearest place" {
	pull 1
	faults
	# the same repository: all is there
	ctr images push --plain-http "$host/a/b:again" "$host/a/b:1" >/dev/null
	run grep -e POST -e "PUT .*blobs" "$dir/faulty/requests"
	[ "$status" -eq 1 ]
	grep "PUT /v2/a/b/manifests/again" "$dir/faulty/requests"
	# to another registry, and from there to another repository
	registry_start
	local target=127.0.0.1:$registry_port
	ctr images push --plain-http "$target/a/b:1" "$host/a/b:1" >/dev/null
	[ "$(grep -c '"PUT /v2/a/b/blobs/uploads' "$dir/registry.log")" -eq 4 ]
	ctr images pull --plain-http "$target/a/b:1" >/dev/null
	ctr images push --plain-http "$target/c/d:1" "$target/a/b:1" >/dev/null
	[ "$(grep -c 'POST /v2/c/d/blobs/uploads/?.*from=a%2Fb.*mount=\|POST /v2/c/d/blobs/uploads/?.*mount=.*from=a/b' "$dir/registry.log")" -eq 4 ]
	run grep '"PUT /v2/c/d/blobs' "$dir/registry.log"
	[ "$status" -eq 1 ]
}

@test "uploads that break" {
	pull 1
	rm "$dir"/faulty/blobs/sha256/*
	local how
	for how in '1 PUT /uploads/ reset' '2 PUT /uploads/ cut' '1 POST /uploads/ status 503' '1 PUT /uploads/ forget' \
		'1 PUT /manifests/ reset'; do
		faults "$how"
		ctr images push --plain-http "$host/a/b:new" "$host/a/b:1" >/dev/null
		[ "sha256:$(seen "docker://$host/a/b:new")" = "$(digest_of "$host/a/b:1")" ]
		copy "docker://$host/a/b:new" "oci:$dir/out:$RANDOM"
		rm "$dir"/faulty/blobs/sha256/*
	done
	faults '2 PUT /uploads/ cut'
	ctr images push --plain-http "$host/a/b:new" "$host/a/b:1" >/dev/null
	grep "^PATCH " "$dir/faulty/requests" # only the rest was sent
	rm "$dir"/faulty/blobs/sha256/*
	faults '0 PUT /uploads/ status 400 {"errors":[{"code":"SIZE_INVALID","message":"too much","detail":"x"}]}'
	run ctr images push --plain-http "$host/a/b:new" "$host/a/b:1"
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *"unexpected status from PUT request to http://$host/v2/a/b/blobs/uploads/"*": 400 Bad Request"* ]]
	[[ $output == *"too much"* ]]
	assert_nothing_left
}

@test "archives go both ways with skopeo" {
	pull 1
	pull index
	local name want
	for name in 1 index; do
		want=$(digest_of "$host/a/b:$name")
		ctr images export "$dir/$name.tar" "$host/a/b:$name" >/dev/null
		copy "oci-archive:$dir/$name.tar:$name" "oci:$dir/out:$name"
		copy "docker-archive:$dir/$name.tar" "oci:$dir/out:docker-$name"
		[ "$(jq -r '.manifests | length' "$dir/out/index.json")" -ge 2 ]
		ctr images rm "$host/a/b:$name" >/dev/null
		ctr images import --snapshotter "$snapshotter" "$dir/$name.tar" >/dev/null
		[ "$(digest_of "$host/a/b:$name")" = "$want" ]
	done
	copy "oci:$layout:1" "docker-archive:$dir/d.tar:example.com/saved:1"
	copy "oci:$layout:1" "oci-archive:$dir/o.tar:named"
	ctr images import --snapshotter "$snapshotter" "$dir/d.tar" >/dev/null
	ctr images import --snapshotter "$snapshotter" --base-name example.com/base "$dir/o.tar" >/dev/null
	[ "$(ctr images check -q | grep -c -e example.com/saved:1 -e example.com/base:named)" -eq 2 ]
	# layers of docker-archive are plain tars: compressed they are as small as they were
	ctr images rm example.com/saved:1
	ctr images import --snapshotter "$snapshotter" --compress-blobs "$dir/d.tar" >/dev/null
	ctr content get "$(digest_of example.com/saved:1)" | jq -r '.layers[].mediaType' | sort -u |
		grep -x application/vnd.docker.image.rootfs.diff.tar.gzip
	assert_nothing_left
}

@test "names and platforms of an archive" {
	copy --all "oci:$layout:index" "oci-archive:$dir/i.tar:two"
	ctr images import --snapshotter "$snapshotter" --base-name example.com/x --digests --index-name example.com/all:1 \
		"$dir/i.tar" >/dev/null
	ctr images ls -q | grep -x example.com/all:1
	ctr images ls -q | grep -x example.com/x:two
	ctr images ls -q | grep -x "example.com/x@$(digest_of example.com/x:two)"
	# this platform's content only, then all of it
	[ "$(ctr images check "name==example.com/x:two" | grep -c "complete")" -le 1 ]
	run ctr images export --platform linux/s390x "$dir/none.tar" example.com/x:two
	[ "$status" -eq 1 ]
	[[ $output == *"no manifest found for platform: not found"* ]]
	[ ! -e "$dir/none.tar" ]
	ctr images import --no-unpack --all-platforms --base-name example.com/y "$dir/i.tar" >/dev/null
	ctr images export --all-platforms "$dir/all.tar" example.com/y:two >/dev/null
	tar -tf "$dir/all.tar" | grep -x manifest.json
	ctr images export --platform linux/arm/v7 --skip-manifest-json "$dir/arm.tar" example.com/y:two >/dev/null
	run sh -c "tar -tf '$dir/arm.tar' | grep -x manifest.json"
	[ "$status" -eq 1 ]
	ctr images tag example.com/y:two example.com/z:1
	[ "$(digest_of example.com/z:1)" = "$(digest_of example.com/y:two)" ]
}

@test "Debian's ctr reads our archives and we read its" {
	pull 1
	ctr images export "$dir/ours.tar" "$host/a/b:1" >/dev/null
	peer_ctr -n peer images import --snapshotter "$snapshotter" "$dir/ours.tar"
	peer_ctr -n peer images export "$dir/theirs.tar" "$host/a/b:1"
	ctr -n third images import --snapshotter "$snapshotter" "$dir/theirs.tar" >/dev/null
	[ "$(ctr -n third images check -q)" = "$host/a/b:1" ]
}

@test "umoci's images" {
	umoci init --layout "$dir/u"
	umoci new --image "$dir/u:x"
	umoci config --image "$dir/u:x" --config.cmd /bin/true
	umoci unpack --image "$dir/u:x" "$dir/bundle"
	echo hello >"$dir/bundle/rootfs/file"
	umoci repack --image "$dir/u:x" "$dir/bundle"
	tar -C "$dir/u" -cf "$dir/u.tar" .
	ctr images import --snapshotter "$snapshotter" --base-name example.com/umoci "$dir/u.tar" >/dev/null
	[ "$(ctr images check -q)" = example.com/umoci:x ]
	ctr images push --plain-http "$host/umoci:x" example.com/umoci:x >/dev/null
	copy "docker://$host/umoci:x" "oci:$dir/back:x"
	umoci stat --image "$dir/back:x" >/dev/null
}

buildah() { command buildah --root "$dir/buildah" --runroot "$dir/buildah-run" --storage-driver vfs "$@"; }

@test "buildah's images, from a registry and archives" {
	command -v buildah >/dev/null || skip "buildah is not installed"
	registry_start
	local target=127.0.0.1:$registry_port/built c kind
	c=$(buildah from scratch)
	buildah copy -q "$c" /bin/busybox /bin/busybox >/dev/null
	buildah config --cmd '["/bin/busybox","echo","built"]' --workingdir / "$c"
	for kind in oci docker; do
		buildah commit -q --format $kind "$c" "demo.local/$kind:1" >/dev/null
		buildah push -q --tls-verify=false "demo.local/$kind:1" "docker://$target:$kind"
		ctr images pull --plain-http --snapshotter "$snapshotter" "$target:$kind" >/dev/null
		[ "$(ctr run --rm $(run_flags) --snapshotter "$snapshotter" "$target:$kind" c1)" = built ]
		buildah push -q "demo.local/$kind:1" "$kind-archive:$dir/$kind.tar:demo.local/$kind:2"
		ctr -n archive images import --snapshotter "$snapshotter" "$dir/$kind.tar" >/dev/null
		[ "$(ctr -n archive run --rm $(run_flags) --snapshotter "$snapshotter" "demo.local/$kind:2" c1)" = built ]
		# and it reads what we send
		ctr images push --plain-http "$target:back-$kind" "$target:$kind" >/dev/null
		buildah pull -q --tls-verify=false "docker://$target:back-$kind" >/dev/null
	done
	# a docker-archive has the name that the image has in buildah, too
	[ "$(ctr -n archive images check -q | xargs)" = "demo.local/docker:1 demo.local/docker:2 demo.local/oci:2" ]
}
