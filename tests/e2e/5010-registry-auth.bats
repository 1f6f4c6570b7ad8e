#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A registry with TLS and a password; many pulls at once.
# bats file_tags=once
load lib
setup() {
	common_setup
	make_image "$dir/bb.tar"
	mkdir "$dir/layout"
	tar -C "$dir/layout" -xf "$dir/bb.tar"
}
teardown() { common_teardown; }

# Certificate of our own making, user "user" with password "pass".
secure_registry_start() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/key.pem" -out "$dir/cert.pem" -days 2 -subj /CN=registry \
		-addext "subjectAltName=IP:127.0.0.1" 2>/dev/null
	# bcrypt of "pass"; htpasswd is not on every machine
	echo 'user:$2y$05$.qi1OGUwlJeTweGo1xr76O1oR0a0Xv.zA8Lth9veI4JW4uQiclV3.' >"$dir/htpasswd"
	registry_start "tls: {certificate: $dir/cert.pem, key: $dir/key.pem}" \
		"auth: {htpasswd: {realm: test, path: $dir/htpasswd}}"
	skopeo copy --insecure-policy --dest-tls-verify=false --dest-creds user:pass "oci:$dir/layout" \
		"docker://127.0.0.1:$registry_port/bb:1" >/dev/null
	ref=127.0.0.1:$registry_port/bb:1
}

@test "TLS and a password" {
	secure_registry_start
	ctr images pull --snapshotter "$snapshotter" --user user:pass "$ref"
	[ "$(ctr images check -q)" = "$ref" ]
	ctr images push --user user:pass "127.0.0.1:$registry_port/pushed:1" "$ref"
	ctr images pull --snapshotter "$snapshotter" --user user:pass "127.0.0.1:$registry_port/pushed:1"
	# nothing of it is in the log
	run grep -e dXNlcjpwYXNz -e user:pass "$dir/log"
	[ "$status" -eq 1 ]
}

@test "a wrong password, and none" {
	secure_registry_start
	run ctr images pull --user user:wrong "$ref"
	[ "$status" -ne 0 ]
	[[ $output == *"unexpected status from HEAD request to https://$ref"* || $output == *"401 Unauthorized"* ]]
	run ctr images pull "$ref"
	[ "$status" -ne 0 ]
	[[ $output == *"authorization failed: no basic auth credentials"* || $output == *"401 Unauthorized"* ]]
	run ctr images pull --plain-http --user user:pass "$ref"
	[ "$status" -ne 0 ]
	[ -z "$(ctr images ls -q)" ]
	[ -z "$(ctr leases ls -q)" ]
}

@test "ten pulls at once are one download" {
	registry_start
	skopeo copy --insecure-policy --dest-tls-verify=false "oci:$dir/layout" "docker://127.0.0.1:$registry_port/bb:1" >/dev/null
	local i pids=()
	for i in $(seq 10); do
		ctr images pull --plain-http --snapshotter "$snapshotter" "127.0.0.1:$registry_port/bb:1" >/dev/null 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
	# config and layer
	[ "$(grep -c '"GET /v2/bb/blobs/' "$dir/registry.log")" -eq 2 ]
	[ "$(ctr snapshots ls | wc -l)" -eq 2 ]
}
