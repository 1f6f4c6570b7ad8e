#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Registries in the daemon's configuration: config_path of the transfer service, and CRI's keys of every age, which it takes too.
load lib
load registries
setup() { registries_setup; }
teardown() { registries_teardown; }

# The daemon anew, with $1 in its configuration.
configured() {
	daemon_stop
	extra_config=$1
	daemon_start
}

# The configuration changes in the running daemon.
reconfigured() {
	local n
	n=$(grep -c 'configuration reloaded\|cannot reload the configuration' "$dir/log" || true)
	printf '%s\n' "$1" >"$dir/tail"
	sed -n '/^# extra/q;p' "$dir/config.toml" >"$dir/head"
	cat "$dir/head" <(echo '# extra') "$dir/tail" >"$dir/config.toml"
	kill -HUP "$(cat "$dir/pid")"
	local i
	for i in $(seq 200); do
		[ "$(grep -c 'configuration reloaded\|cannot reload the configuration' "$dir/log")" -eq "$n" ] || return 0
		sleep 0.05
	done
	return 1
}

self_signed() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/pki/server.key" -out "$dir/pki/server.pem" -days 2 -subj /CN=self 2>/dev/null
}

@test "config_path of the transfer service, two directories" {
	fill bb:1
	mkdir "$dir/more"
	configured "# extra
[plugins.\"io.containerd.transfer.v1.local\"]
config_path = \"$dir/more:$dir/certs.d\""
	hosts one.example <<<"server = 'http://$addr'"
	pulls one.example/bb:1
	# the first directory that is there counts
	mkdir "$dir/more/one.example"
	echo "server = 'http://$(closed_port)'" >"$dir/more/one.example/hosts.toml"
	pull_fails one.example/bb:1 "connection refused"
	# a request's own directory counts before it
	pulls one.example/bb:1 --hosts-dir "$dir/certs.d"
	reconfigured "[plugins.\"io.containerd.transfer.v1.local\"]
config_path = \"$dir/certs.d\""
	pulls one.example/bb:1
}

@test "docker.io with four mirrors in CRI's keys" {
	fill library/bb:1
	local good=$addr
	configured "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]
endpoint = [\"http://$(closed_port)\", \"https://$(closed_port)\", \"http://$(closed_port)\", \"http://$good\"]"
	pulls docker.io/library/bb:1
	run ctr deprecations list
	[[ $output == *io.containerd.deprecation/cri-registry-mirrors* ]]
	run ctr registry explain docker.io/library/bb:1
	[[ $output == *"4. http://$good/v2"*"configured:   $dir/config.toml:"*"5. https://registry-1.docker.io/v2"* ]]
}

@test "the names of version 1" {
	fill library/bb:1 team/bb:1
	local good=$addr
	configured "[plugins.cri.registry.mirrors.\"docker.io\"]
endpoint = [\"http://$(closed_port)\", \"http://$good\"]"
	pulls docker.io/library/bb:1
	grep -q '\[plugins.cri\] at .* is a name of version 1' "$dir/log"
	# quay.io through a mirror below a path
	registry_run sub "prefix: /quay/"
	configured "[plugins.cri.registry.mirrors.\"quay.io\"]
endpoint = [\"http://$addr/quay/v2\"]"
	pulls quay.io/team/bb:1
}

@test "a site without the world in CRI's keys, credentials, headers, reload" {
	fill library/bb:1 team/bb:1
	self_signed
	echo 'user:$2y$05$.qi1OGUwlJeTweGo1xr76O1oR0a0Xv.zA8Lth9veI4JW4uQiclV3.' >"$dir/htpasswd"
	registry_run private "$(with_tls)" "auth: {htpasswd: {realm: test, path: $dir/htpasswd}}"
	# as people write it: TLS for the images' registries, not for the mirror
	local cri='plugins."io.containerd.grpc.v1.cri".registry'
	local mirrors="[$cri.mirrors.\"*\"]
endpoint = [\"https://$addr\"]
[$cri.configs.\"docker.io\".tls]
insecure_skip_verify = true
[$cri.configs.\"quay.io\".tls]
insecure_skip_verify = true"
	configured "# extra
$mirrors
[$cri.configs.\"$addr\".auth]
username = \"user\"
password = \"wrong\""
	run ctr images pull docker.io/library/bb:1
	[ "$status" -eq 1 ]
	# without a restart
	reconfigured "$mirrors
[$cri.configs.\"$addr\".auth]
username = \"user\"
password = \"pass\""
	pulls docker.io/library/bb:1
	pulls quay.io/team/bb:1
	reconfigured "$mirrors
[$cri.auths.\"https://$addr\"]
auth = \"dXNlcjpwYXNz\"
[$cri.headers]
X-Meta-Site = [\"here\"]"
	pulls docker.io/library/bb:1
	run ctr registry explain docker.io/library/bb:1
	[[ $output == *"1. https://$addr/v2"*"tls:          no verification"*"X-Meta-Site: ***"*"credentials:  registry.auths of $dir/config.toml:"* ]]
	[[ $output != *dXNlcjpwYXNz* ]]
	# a mistake leaves what was
	reconfigured "$mirrors
[$cri.auths.\"https://$addr\"]
auth = \"no base64\""
	pulls docker.io/library/bb:1
	grep -q 'invalid cri image config: .*config.toml:[0-9]*: registry.auths.*is not base64' "$dir/log"
	# its own authority instead
	pki site
	registry_run private2 "$(with_tls)"
	configured "[$cri.mirrors.\"*\"]
endpoint = [\"https://$addr\"]
[$cri.configs.\"$addr\".tls]
ca_file = \"$dir/pki/ca.pem\"
cert_file = \"$dir/pki/client.pem\"
key_file = \"$dir/pki/client.key\""
	pulls quay.io/team/bb:1
	run ctr deprecations list
	[[ $output == *io.containerd.deprecation/cri-registry-configs* ]]
	run grep -e dXNlcjpwYXNz -e '"pass"' "$dir/log"
	[ "$status" -eq 1 ]
}

@test "what does not go together is refused, with what to write instead" {
	local cri='plugins."io.containerd.grpc.v1.cri".registry'
	configured "[$cri]
config_path = \"/etc/containerd/certs.d\"
[$cri.mirrors.\"docker.io\"]
endpoint = [\"https://mirror.example\"]"
	run ctr plugins ls -d
	[[ $(ctr plugins ls) == *io.containerd.cri.v1*images*error* ]]
	grep -q 'invalid cri image config: `mirrors` cannot be set when `config_path` is provided: write \[host.*https://mirror.example.*\] into /etc/containerd/certs.d/docker.io/hosts.toml instead of what stands at .*config.toml:' "$dir/log"
}

@test "programs that were copied to where libcurl is not: a pull says so, and the daemon goes on" {
	lib=$(readlink -f "$(ldconfig -p | awk '$1 == "libcurl.so.4" {print $NF; exit}')")
	nsenter -t "$(cat "$dir/pid")" -m mount --bind /dev/null "$lib"
	run ctr images pull --plain-http 127.0.0.1:1/a:b
	[ "$status" -eq 1 ]
	[[ $output == *"registries need libcurl: "*"libcurl.so.4: file too short"* ]]
	ctr version
	nsenter -t "$(cat "$dir/pid")" -m umount "$lib"
	run ctr images pull --plain-http 127.0.0.1:1/a:b
	[[ $output == *"connection refused"* ]]
}
