#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Who says who we are: flags, files, helpers; Basic and Bearer; and who must not be told.
load lib
load registries
setup() {
	mkdir "$BATS_TEST_TMPDIR/bin"
	PATH=$BATS_TEST_TMPDIR/bin:$PATH # the daemon's, for helpers
	registries_setup
	# bcrypt of "pass"
	echo 'user:$2y$05$.qi1OGUwlJeTweGo1xr76O1oR0a0Xv.zA8Lth9veI4JW4uQiclV3.' >"$dir/htpasswd"
	basic="auth: {htpasswd: {realm: test, path: $dir/htpasswd}}"
}
teardown() {
	[ -z "${dir:-}" ] || assert_no_secrets
	registries_teardown
}

# Neither "pass" nor the refresh token, in any form, is in what the daemon wrote.
assert_no_secrets() {
	! grep -e dXNlcjpwYXNz -e user:pass -e r3fresh "$dir/log" "$dir/dump" 2>/dev/null
	! grep -r -e dXNlcjpwYXNz -e r3fresh "$dir/root" "$dir/state" 2>/dev/null
}

helper() {
	printf '#!/bin/sh\n%s\n' "$2" >"$BATS_TEST_TMPDIR/bin/docker-credential-$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/docker-credential-$1"
}

# docker-registry with tokens of registry-peer.py, at $addr; the arguments are the peer's.
token_registry() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/token.key" -out "$dir/token.pem" -days 2 -subj /CN=tokens 2>/dev/null
	peer_run --key "$dir/token.key" --cert "$dir/token.pem" "$@"
	tokens=$addr
	registry_run tokens "" "auth: {token: {realm: 'http://$tokens/token', service: registry, issuer: issuer, rootcertbundle: $dir/token.pem}}"
}

@test "Basic: flags, a file, a helper, and none of them" {
	fill bb:1
	registry_run basic "" "$basic"
	pulls "$addr/bb:1" --plain-http --user user:pass
	pull_fails "$addr/bb:1" "401 Unauthorized" --plain-http
	pull_fails "$addr/bb:1" "401 Unauthorized" --plain-http --user user:wrong

	printf '{"auths":{"%s":{"auth":"dXNlcjpwYXNz"}}}' "$addr" >"$dir/config.json"
	hosts "$addr" <<-TOML
		server = "http://$addr"
		credential_file = "../../config.json"
	TOML
	pulls "$addr/bb:1" --hosts-dir "$dir/certs.d"
	run ctr registry explain --hosts-dir "$dir/certs.d" "$addr/bb:1"
	[[ $output == *"credentials:  $dir/config.json"* ]]
	# the file is read for each pull
	echo '{' >"$dir/config.json"
	pull_fails "$addr/bb:1" "credential file \"$dir/config.json\": " --hosts-dir "$dir/certs.d"

	helper e2e "read -r server; [ \"\$server\" = $addr ] && echo '{\"Username\":\"user\",\"Secret\":\"pass\"}'"
	hosts "$addr" <<-TOML
		server = "http://$addr"
		credential_helper = "e2e"
	TOML
	pulls "$addr/bb:1" --hosts-dir "$dir/certs.d"
	printf '{"auths":{"%s":{}},"credHelpers":{"%s":"e2e"},"credsStore":"none"}' "$addr" "$addr" >"$dir/config.json"
	hosts "$addr" <<-TOML
		server = "http://$addr"
		credential_file = "../../config.json"
	TOML
	pulls "$addr/bb:1" --hosts-dir "$dir/certs.d"
	helper e2e 'echo "the vault is locked" >&2; exit 2'
	pull_fails "$addr/bb:1" "credential helper \"docker-credential-e2e\" for \"$addr\": exit status 2: the vault is locked" \
		--hosts-dir "$dir/certs.d"
	# what the client says counts first
	pulls "$addr/bb:1" --hosts-dir "$dir/certs.d" --user user:pass
	hosts "$addr" <<-TOML
		credential_helper = "../../bin/sh"
	TOML
	pull_fails "$addr/bb:1" "hosts.toml:1: credential_helper \"../../bin/sh\": it is the NAME of a program docker-credential-NAME" \
		--hosts-dir "$dir/certs.d"
}

@test "a host that others lead to is told nothing" {
	fill bb:1
	registry_run basic "" "$basic"
	local secret=$addr
	peer_run --redirect "http://$secret"
	# it asks, and we know: but for another host
	pull_fails "$addr/bb:1" "no basic auth credentials" --plain-http --user user:pass
	run grep '"HEAD /v2/bb/manifests/1.* 200 ' "$dir/basic.log"
	[ "$status" -eq 1 ]
	# headers of a host stay with it
	hosts "$addr" <<-TOML
		server = "http://$addr"
		[header]
		X-Site = "ours"
		Authorization = "Basic dXNlcjpwYXNz"
	TOML
	pull_fails "$addr/bb:1" "401 Unauthorized" --hosts-dir "$dir/certs.d"
	grep -q 'HEAD /v2/bb/manifests/1 .*auth=Basic x=ours' "$dir/peer.log"
	# where it asks for nothing it serves
	registry_run open
	local open=$addr
	peer_run --redirect "http://$open"
	pulls "$addr/bb:1" --plain-http --user user:pass
}

@test "Bearer: anonymous, password, refresh token, identity token" {
	fill public/bb:1 private/bb:1
	token_registry
	pulls "$addr/public/bb:1" --plain-http
	grep -q 'GET /token?service=registry&scope=repository%3Apublic%2Fbb%3Apull .*auth=none' "$dir/peer.log"
	# one token serves the whole pull
	[ "$(wc -l <"$dir/peer.log")" -eq 1 ]
	pull_fails "$addr/private/bb:1" "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed" --plain-http
	: >"$dir/peer.log"
	pulls "$addr/private/bb:1" --plain-http --user user:pass
	grep -q 'POST /token grant=password scope=repository:private/bb:pull auth=none' "$dir/peer.log"
	pulls "$addr/private/bb:1" --plain-http --refresh r3fresh
	grep -q 'POST /token grant=refresh_token' "$dir/peer.log"
	pull_fails "$addr/private/bb:1" "failed to authorize: failed to fetch oauth token: unexpected status from POST request to http://$tokens/token: 403 Forbidden" \
		--plain-http --user user:wrong
	printf '{"auths":{"http://%s/v1/":{"identitytoken":"r3fresh"}}}' "$addr" >"$dir/config.json"
	hosts "$addr" <<-TOML
		server = "http://$addr"
		credential_file = "$dir/config.json"
		[header]
		X-Site = "ours"
		Authorization = "Basic none-of-your-business"
	TOML
	: >"$dir/peer.log"
	pulls "$addr/private/bb:1" --hosts-dir "$dir/certs.d"
	# the token server gets the headers, but not that one
	grep -q 'POST /token grant=refresh_token scope=repository:private/bb:pull auth=none x=ours' "$dir/peer.log"
	# a push that mounts blobs asks for both repositories
	ctr images pull --snapshotter "$snapshotter" --plain-http --user user:pass "$addr/private/bb:1" >/dev/null
	ctr images push --plain-http --user user:pass --http-dump "$addr/copy/bb:1" "$addr/private/bb:1" >/dev/null 2>"$dir/dump"
	grep -q 'scope=.*repository:copy/bb:pull,push repository:private/bb:pull' "$dir/peer.log"
	grep -q '^Authorization: <redacted>' "$dir/dump"
}

@test "Bearer: tokens that expire, a server without OAuth2" {
	fill private/bb:1
	token_registry --no-post --expires 1
	pulls "$addr/private/bb:1" --plain-http --user user:pass
	grep -q 'POST /token grant=password' "$dir/peer.log"
	grep -q 'GET /token.*auth=Basic' "$dir/peer.log"
	pull_fails "$addr/private/bb:1" "failed to fetch oauth token: unexpected status from GET request" --plain-http --user user:wrong
}
