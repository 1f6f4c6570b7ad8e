# SPDX-License-Identifier: Apache-2.0
# Several registries at once, all with the same content, for the tests of configuration and credentials. load lib first.

# Once is enough: neither runtimes nor snapshotters play a part in where an image comes from.
registries_setup() {
	[ "$runtime/$snapshotter" = runc/overlayfs ] || skip "registries do not depend on runtime and snapshotter"
	common_setup
	: >"$dir/peers"
	make_image "$dir/bb.tar"
	mkdir "$dir/layout" "$dir/certs.d" "$dir/pki"
	tar -C "$dir/layout" -xf "$dir/bb.tar"
}

registries_teardown() {
	if [ -n "${dir:-}" ] && [ -f "$dir/peers" ]; then
		xargs -r kill <"$dir/peers" 2>/dev/null || true
	fi
	common_teardown
}

# Puts the image into the content of all registries, under each name given.
fill() {
	registry_run fill
	local name
	for name in "$@"; do
		skopeo copy --insecure-policy --dest-tls-verify=false "oci:$dir/layout" "docker://$addr/$name" >/dev/null
	done
}

# docker-registry NAME on the loopback ($4: another address of it), at $addr. $2: more of its `http` section, $3: more sections.
# Its log is NAME.log.
registry_run() {
	local tries i pid port
	for tries in $(seq 10); do
		port=$((10000 + RANDOM % 20000))
		addr=${4:-127.0.0.1}:$port
		cat >"$dir/$1.yml" <<-YML
			version: 0.1
			log: {level: info}
			storage: {filesystem: {rootdirectory: $dir/registry}}
			http: {addr: "$addr"${2:+, $2}}
			${3:-}
		YML
		docker-registry serve "$dir/$1.yml" >"$dir/$1.log" 2>&1 3>&- &
		pid=$!
		for i in $(seq 600); do
			grep -q 'listening on ' "$dir/$1.log" && {
				echo $pid >>"$dir/peers"
				return 0
			}
			kill -0 $pid 2>/dev/null || break
			sleep 0.05
		done
		kill $pid 2>/dev/null || true
	done
	tail -5 "$dir/$1.log" >&2
	return 1
}

# registry-peer.py, at $addr; the arguments are its own. What it is asked goes to $dir/peer.log.
peer_run() {
	rm -f "$dir/peer.port"
	"$BATS_TEST_DIRNAME/registry-peer.py" --port-file "$dir/peer.port" --log "$dir/peer.log" "$@" 2>"$dir/peer.err" 3>&- &
	echo $! >>"$dir/peers"
	local i
	for i in $(seq 200); do
		[ ! -s "$dir/peer.port" ] || break
		sleep 0.05
	done
	addr=127.0.0.1:$(cat "$dir/peer.port")
}

# An address where nobody listens.
closed_port() { echo "127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"; }

# ca.pem, and server.pem and client.pem by it, each with its .key.
pki() {
	(
		cd "$dir/pki" || exit 1
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj "/CN=${1:-site} CA"
		local name
		for name in server client; do
			openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj "/CN=$name"
			printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >ext
			openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $name.pem
		done
	) >/dev/null 2>&1
}
with_tls() { echo "tls: {certificate: $dir/pki/server.pem, key: $dir/pki/server.key}"; }

# The hosts.toml of a name, from stdin.
hosts() {
	mkdir -p "$dir/certs.d/$1"
	cat >"$dir/certs.d/$1/hosts.toml"
}

# Everything goes, so that the next pull asks again.
forget() {
	ctr images ls -q | xargs -r "$ours/ctr" images rm >/dev/null
	ctr leases rm --sync "$(ctr leases create)" >/dev/null
	[ -z "$(ctr content ls -q)" ]
}

# Pulls $1 (further arguments: flags) and checks it.
pulls() {
	local ref=$1
	shift
	ctr images pull --snapshotter "$snapshotter" "$@" "$ref" >/dev/null
	[ "$(ctr images check -q)" = "$ref" ]
	forget
}

# The pull of $1 fails and says $2.
pull_fails() {
	local ref=$1 text=$2
	shift 2
	run ctr images pull --snapshotter "$snapshotter" "$@" "$ref"
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *"$text"* ]]
	[ -z "$(ctr images ls -q)" ]
	[ -z "$(ctr leases ls -q)" ]
}
