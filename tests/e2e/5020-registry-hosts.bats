#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hosts.toml and the flags of ctr. No registry of the world is ever asked: each name has a mirror that has the image.
load lib
load registries
setup() { registries_setup; }
teardown() { registries_teardown; }

@test "four mirrors of docker.io, three of them down" {
	fill library/bb:1
	local good=$addr mute
	peer_run --mute
	mute=$addr
	hosts docker.io <<-TOML
		server = "http://$(closed_port)"
		[host."http://$(closed_port)"]
		[host."https://$(closed_port)"]
		capabilities = ["pull", "resolve"]
		[host."https://$mute"]
		dial_timeout = "300ms"
		[host."http://$good"]
		capabilities = ["pull", "resolve"]
	TOML
	pulls docker.io/library/bb:1 --hosts-dir "$dir/certs.d"
	# it was told whose image it is
	grep -q 'GET /v2/library/bb/manifests/.*ns=docker.io' "$dir/fill.log"
	# the file is read for each pull
	hosts docker.io <<-TOML
		server = "http://$(closed_port)"
	TOML
	pull_fails docker.io/library/bb:1 "connect: connection refused" --hosts-dir "$dir/certs.d"
	# one wrong file costs its registry only, and says where it is wrong
	hosts docker.io <<-TOML
		[host."http://$good"]
		skip_verify = "yes"
	TOML
	pull_fails docker.io/library/bb:1 "$dir/certs.d/docker.io/hosts.toml:2: \"host.http://$good.skip_verify\" must be a boolean, not a string" \
		--hosts-dir "$dir/certs.d"
	pulls "$good/library/bb:1" --hosts-dir "$dir/certs.d"
}

@test "a mirror below a path" {
	fill team/bb:1
	registry_run sub "prefix: /quay/"
	hosts quay.io <<-TOML
		server = "http://$(closed_port)"
		[host."http://$addr/quay/v2"]
		override_path = true
	TOML
	pulls quay.io/team/bb:1 --hosts-dir "$dir/certs.d"
	hosts quay.io <<-TOML
		server = "http://$(closed_port)"
		[host."http://$addr/quay"]
	TOML
	pulls quay.io/team/bb:1 --hosts-dir "$dir/certs.d"
	hosts quay.io <<-TOML
		server = "http://$(closed_port)"
		[host."http://$addr"]
	TOML
	pull_fails quay.io/team/bb:1 "" --hosts-dir "$dir/certs.d"
}

@test "a private authority, client certificates, several of them" {
	fill bb:1
	pki other
	mkdir "$dir/other"
	mv "$dir"/pki/client.* "$dir/other/"
	pki site
	registry_run tls "$(with_tls)"
	hosts "$addr" <<-TOML
		server = "https://$addr"
	TOML
	pull_fails "$addr/bb:1" "x509: certificate signed by unknown authority" --hosts-dir "$dir/certs.d"
	hosts "$addr" <<-TOML
		server = "https://$addr"
		ca = "../../pki/ca.pem"
	TOML
	pulls "$addr/bb:1" --hosts-dir "$dir/certs.d"

	registry_run mutual "tls: {certificate: $dir/pki/server.pem, key: $dir/pki/server.key, clientcas: [$dir/pki/ca.pem]}"
	local name=127.0.0.1_${addr##*:}_
	hosts "$name" <<-TOML
		server = "https://$addr"
		ca = ["$dir/pki/ca.pem"]
	TOML
	pull_fails "$addr/bb:1" "" --hosts-dir "$dir/certs.d"
	# the one that the server's authority has made is chosen
	hosts "$name" <<-TOML
		server = "https://$addr"
		ca = ["$dir/pki/ca.pem"]
		client = [["$dir/other/client.pem", "$dir/other/client.key"], ["$dir/pki/client.pem", "$dir/pki/client.key"]]
	TOML
	pulls "$addr/bb:1" --hosts-dir "$dir/certs.d"
	hosts "$name" <<-TOML
		server = "https://$addr"
		client = [["$dir/pki/client.pem", "$dir/other/client.key"]]
	TOML
	pull_fails "$addr/bb:1" "failed to load X509 key pair: tls: private key does not match public key" --hosts-dir "$dir/certs.d"
	# Docker's layout
	rm "$dir/certs.d/$name/hosts.toml"
	mkdir -p "$dir/certs.d/$addr"
	cp "$dir/pki/ca.pem" "$dir/certs.d/$name/ca.crt"
	cp "$dir/pki/client.pem" "$dir/certs.d/$name/client.cert"
	cp "$dir/pki/client.key" "$dir/certs.d/$name/client.key"
	pulls "$addr/bb:1" --hosts-dir "$dir/none:$dir/certs.d"
	# flags of ctr; nothing of them stays
	pulls "$addr/bb:1" --tlscacert "$dir/pki/ca.pem" --tlscert "$dir/pki/client.pem" --tlskey "$dir/pki/client.key"
	pulls "$addr/bb:1" --skip-verify --tlscert "$dir/pki/client.pem" --tlskey "$dir/pki/client.key"
	pull_fails "$addr/bb:1" "flags --tlscert and --tlskey must be set together" --tlscert "$dir/pki/client.pem"
	pull_fails "$addr/bb:1" "failed to read \"/none\": open /none: no such file or directory" --tlscacert /none
	pull_fails "$addr/bb:1" "--tlscacert does not go with --hosts-dir" --hosts-dir "$dir/certs.d" --tlscacert "$dir/pki/ca.pem"
	[ -z "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'ctr-hosts.*' -newer "$dir/pki/ca.pem")" ]
}

@test "an address of IPv6" {
	[ -e /proc/net/if_inet6 ] || skip "no IPv6 on this machine"
	fill bb:1
	registry_run six "" "" "[::1]"
	pulls "$addr/bb:1"
	mkdir "$dir/certs.d/[::1]_${addr##*:}_"
	echo "server = 'http://$addr'" >"$dir/certs.d/[::1]_${addr##*:}_/hosts.toml"
	pulls "$addr/bb:1" --hosts-dir "$dir/certs.d"
	echo "server = 'http://$(closed_port)'" >"$dir/certs.d/[::1]_${addr##*:}_/hosts.toml"
	pull_fails "$addr/bb:1" "connection refused" --hosts-dir "$dir/certs.d"
}

@test "a site without the world: every registry is one private registry" {
	fill library/bb:1 team/bb:1 pause:3
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/pki/server.key" -out "$dir/pki/server.pem" -days 2 -subj /CN=self 2>/dev/null
	registry_run self "$(with_tls)"
	hosts _default <<-TOML
		server = "http://$(closed_port)"
		[host."https://$addr"]
		skip_verify = true
	TOML
	pulls docker.io/library/bb:1 --hosts-dir "$dir/certs.d"
	pulls quay.io/team/bb:1 --hosts-dir "$dir/certs.d"
	pulls registry.k8s.io/pause:3 --hosts-dir "$dir/certs.d"
	# push goes to the one that may
	ctr images pull --snapshotter "$snapshotter" --hosts-dir "$dir/certs.d" quay.io/team/bb:1 >/dev/null
	hosts quay.io <<-TOML
		server = "https://$addr"
		skip_verify = true
		[host."http://$(closed_port)"]
		capabilities = ["pull", "resolve"]
	TOML
	ctr images push --hosts-dir "$dir/certs.d" quay.io/pushed/bb:2 quay.io/team/bb:1
	forget
	pulls quay.io/pushed/bb:2 --hosts-dir "$dir/certs.d"
}

@test "what a certificate that is missing costs, and what explain says" {
	fill library/bb:1
	hosts docker.io <<-TOML
		server = "http://$(closed_port)"
		[host."https://broken.example"]
		ca = "missing.pem"
		[host."http://$addr"]
		capabilities = ["pull", "resolve"]
		skip_verfy = true
		[host."http://$addr".header]
		X-Site = "s3cret"
	TOML
	pulls docker.io/library/bb:1 --hosts-dir "$dir/certs.d"
	run ctr registry explain --hosts-dir "$dir/certs.d" docker.io/library/bb:1
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"registry docker.io, repository library/bb"* ]]
	[[ $output == *"1. https://broken.example/v2"*"not usable:   $dir/certs.d/docker.io/hosts.toml:2: unable to read CA cert \"$dir/certs.d/docker.io/missing.pem\""* ]]
	[[ $output == *"2. http://$addr/v2"*"configured:   $dir/certs.d/docker.io/hosts.toml:4"*"capabilities: pull, resolve"*"X-Site: ***"*"credentials:  none"* ]]
	[[ $output == *"warning: $dir/certs.d/docker.io/hosts.toml:6: unknown key \"host.http://$addr.skip_verfy\" is ignored, did you mean"* ]]
	[[ $output != *s3cret* ]]
	run ctr registry explain --try --format json --hosts-dir "$dir/certs.d" docker.io/library/bb:1
	[ "$(jq -r '.hosts[1].attempt.digest' <<<"$output")" = "sha256:$(sha256sum "$dir/image/manifest" | cut -d' ' -f1)" ]
	[[ $(jq -r '.hosts[2].attempt.error' <<<"$output") == *"connection refused" ]]
	[ "$(jq '.hosts[0].attempt' <<<"$output")" = null ]
	run ctr registry explain --hosts-dir "$dir/certs.d" /bb:1
	[ "$status" -eq 1 ]
}

@test "--http-dump and --http-trace tell everything but secrets" {
	fill bb:1
	hosts "$addr" <<-TOML
		server = "http://$addr"
		[header]
		X-Auth-Token = "s3cret"
		X-Plain = "visible"
	TOML
	ctr images pull --snapshotter "$snapshotter" --hosts-dir "$dir/certs.d" --http-dump "$addr/bb:1" >/dev/null 2>"$dir/dump"
	grep -q "^HEAD http://$addr/v2/bb/manifests/1" "$dir/dump"
	grep -q "^200 OK" "$dir/dump"
	grep -q "^X-Auth-Token: <redacted>" "$dir/dump"
	grep -q "^X-Plain: visible" "$dir/dump"
	run grep -e s3cret -e 'remote_addr=' "$dir/dump" "$dir/log"
	[ "$status" -eq 1 ]
	forget
	ctr images pull --snapshotter "$snapshotter" --plain-http --http-trace "$addr/bb:1" >/dev/null 2>"$dir/trace"
	grep -q "^HEAD http://$addr/v2/bb/manifests/1: 200 OK, remote_addr=$addr reused=false dns=" "$dir/trace"
	grep -q "reused=true" "$dir/trace"
}
