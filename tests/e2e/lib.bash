# SPDX-License-Identifier: Apache-2.0
# What every end-to-end test needs: a private daemon in a private mount namespace, its clients, and the proof that nothing is left.
#
#   CTRD_BUILD        build folder with bin/ (required)
#   CTRD_DAEMON_DIR   folder of the daemon and shim under test; default $CTRD_BUILD/bin
#   CTRD_RUNTIME      runc (default) or crun
#   CTRD_SNAPSHOTTER  overlayfs (default) or native
#
# A test file may set extra_config, which daemon_start appends to the configuration, and shared_mounts, for a daemon without a mount
# namespace of its own (only runc runs there).

ours=$CTRD_BUILD/bin
daemon_dir=${CTRD_DAEMON_DIR:-$ours}
runtime=${CTRD_RUNTIME:-runc}
snapshotter=${CTRD_SNAPSHOTTER:-overlayfs}

# The head of a configuration of version 4, for a write_config that goes on from there. $1: more of its top level.
config_v4() {
	cat >"$dir/config.toml" <<-TOML
		version = 4
		root = "$dir/root"
		state = "$dir/state"
		${1:-}
		[debug]
		level = "debug"
		[plugins."io.containerd.server.v1.grpc"]
		address = "$dir/c.sock"
		[plugins."io.containerd.server.v1.ttrpc"]
		address = "$dir/c.sock.ttrpc"
	TOML
}

# Upstream's client, of Debian's package.
peer_ctr() {
	[ -x /usr/bin/ctr ] || skip "Debian's ctr is not installed"
	/usr/bin/ctr "$@"
}

daemon_start() {
	cat >"$dir/config.toml" <<-TOML
		version = 2
		root = "$dir/root"
		state = "$dir/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		address = "$dir/c.sock"
		[debug]
		level = "debug"
	TOML
	[ -z "${extra_config:-}" ] || echo "$extra_config" >>"$dir/config.toml"
	# a test may have a function that adds more, or that begins anew with config_v4
	if declare -F write_config >/dev/null; then write_config; fi
	if [ -n "${shared_mounts:-}" ]; then
		PATH=$daemon_dir:$PATH "$daemon_dir/containerd" --config "$dir/config.toml" >>"$dir/log" 2>&1 3>&- &
	else
		# crun refuses a hybrid cgroup hierarchy: hide its second half from this daemon
		unshare -m --propagation private sh -c '
			umount /sys/fs/cgroup/unified 2>/dev/null && mount -t tmpfs tmpfs /sys/fs/cgroup/unified
			PATH=$1:$PATH
			exec "$1/containerd" --config "$2"' sh "$daemon_dir" "$dir/config.toml" >>"$dir/log" 2>&1 3>&- &
	fi
	daemon=$!
	echo "$daemon" >"$dir/pid"
	local i
	for i in $(seq 200); do
		"$ours/ctr" version >/dev/null 2>&1 && return 0
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.05
	done
	tail -20 "$dir/log" >&2
	return 1
}

daemon_stop() {
	local pid
	pid=$(cat "$dir/pid")
	kill "${1:--TERM}" "$pid" 2>/dev/null || return 0
	while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
}

# For tests whose subject is neither the runtime nor the snapshotter: before common_setup.
once() { [ "$runtime-$snapshotter" = runc-overlayfs ] || skip "the same for each runtime and snapshotter"; }

# A root file system of busybox with users and groups.
make_rootfs() {
	mkdir -p "$1"/bin "$1"/etc "$1"/proc "$1"/tmp "$1"/dev "$1"/sys
	cp /bin/busybox "$1/bin/busybox"
	local a
	for a in sh sleep echo true false cat id ls; do ln -sf busybox "$1/bin/$a"; done
	printf 'root:x:0:0:root:/:/bin/sh\nbob:x:1000:1001::/:/bin/sh\n' >"$1/etc/passwd"
	printf 'root:x:0:\nwheel:x:10:root,bob\nbob:x:1001:\n' >"$1/etc/group"
}

# An OCI archive of that, named demo.local/bb:1, in $1.
make_image() {
	local work=$dir/image tar digest size diff
	make_rootfs "$work/root"
	mkdir -p "$work/oci/blobs/sha256"
	tar -C "$work/root" --owner=0 --group=0 --numeric-owner -cf "$work/layer" .
	diff=$(sha256sum "$work/layer" | cut -d' ' -f1)
	gzip -nf "$work/layer"
	put() {
		digest=$(sha256sum "$1" | cut -d' ' -f1)
		size=$(stat -c %s "$1")
		cp "$1" "$work/oci/blobs/sha256/$digest"
	}
	put "$work/layer.gz"
	local layer="{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$digest\",\"size\":$size}"
	printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["/bin/echo","hello"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$(dpkg --print-architecture)" "$diff" >"$work/config"
	put "$work/config"
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[%s]}' \
		"$digest" "$size" "$layer" >"$work/manifest"
	put "$work/manifest"
	printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d,"annotations":{"io.containerd.image.name":"demo.local/bb:1"}}]}' \
		"$digest" "$size" >"$work/oci/index.json"
	printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci/oci-layout"
	tar -C "$work/oci" -cf "$1" .
}

common_setup() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	dir=$(mktemp -d /tmp/ctrd-e2e.XXXXXX)
	export CONTAINERD_ADDRESS=$dir/c.sock CONTAINERD_SNAPSHOTTER=$snapshotter CONTAINERD_NAMESPACE=e2e-${dir##*.}
	daemon_start
}

common_teardown() {
	[ -n "${dir:-}" ] || return 0
	local c
	for c in $("$ours/ctr" containers ls -q 2>/dev/null); do
		"$ours/ctr" tasks rm -f "$c" >/dev/null 2>&1 || true
		"$ours/ctr" containers rm "$c" >/dev/null 2>&1 || true
	done
	daemon_stop || true
	if [ -n "${registry:-}" ]; then kill "$registry" 2>/dev/null || true; fi
	if [ -n "${fault_registry:-}" ]; then kill "$fault_registry" 2>/dev/null || true; fi
	# what is left would be a leak: say so, and take it away
	local left
	left=$(pgrep -f -- "containerd-shim-runc-v2.*$dir" || true)
	[ -z "$left" ] || kill -9 $left
	grep -q " $dir" /proc/self/mountinfo && { awk -v d="$dir" '$5 ~ "^"d {print $5}' /proc/self/mountinfo | sort -r | xargs -r umount -l; }
	rmdir /sys/fs/cgroup/*/"$CONTAINERD_NAMESPACE" 2>/dev/null || true
	rm -rf "$dir"
	[ -z "$left" ] || {
		echo "shims were left behind: $left" >&2
		return 1
	}
}

ctr() { "$ours/ctr" "$@"; }

# Options of `run` for the runtime under test. 1.6's ctr takes the same.
run_flags() { [ "$runtime" = runc ] || echo "--runc-binary $runtime"; }

# Nothing of a container may stay: shims, bundles, cgroups.
assert_clean() {
	run pgrep -f -- "containerd-shim-runc-v2.*$dir"
	[ "$status" -ne 0 ]
	[ -z "$(ls "$dir"/state/io.containerd.runtime.v2.task/"$CONTAINERD_NAMESPACE" 2>/dev/null)" ]
	[ -z "$(find /sys/fs/cgroup/*/"$CONTAINERD_NAMESPACE" -mindepth 1 -maxdepth 1 -type d 2>/dev/null)" ]
}

# docker-registry on a free port of the loopback, $registry_port. $1: more of its `http` section, $2: more sections.
registry_start() {
	local tries i
	for tries in $(seq 10); do
		registry_port=$((10000 + RANDOM % 20000)) # below the ports that the kernel gives to clients
		cat >"$dir/registry.yml" <<-YML
			version: 0.1
			log: {level: info}
			storage: {filesystem: {rootdirectory: $dir/registry}}
			http: {addr: 127.0.0.1:$registry_port${1:+, $1}}
			${2:-}
		YML
		docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 3>&- &
		registry=$!
		# a port may be somebody else's: what counts is what our registry says
		for i in $(seq 600); do
			grep -q 'listening on ' "$dir/registry.log" && return 0
			kill -0 $registry 2>/dev/null || break
			sleep 0.05
		done
		kill $registry 2>/dev/null || true
	done
	tail -5 "$dir/registry.log" >&2
	return 1
}

# A registry that does what it is told (fault-registry.py says what), of the images of make-layout.py.
fault_registry_start() {
	mkdir "$dir/faulty"
	"$BATS_TEST_DIRNAME/make-layout.py" "$dir/faulty" "$@"
	"$BATS_TEST_DIRNAME/fault-registry.py" "$dir/faulty" 2>"$dir/faulty.log" 3>&- &
	fault_registry=$!
	local i
	for i in $(seq 600); do
		[ ! -s "$dir/faulty/port" ] || break
		sleep 0.05
	done
	registry_port=$(cat "$dir/faulty/port")
	host=127.0.0.1:$registry_port
}

# What goes wrong from here on: a line for each argument; and what was asked before is forgotten.
faults() {
	printf '%s\n' "$@" >"$dir/faulty/faults.new"
	mv "$dir/faulty/faults.new" "$dir/faulty/faults"
	: >"$dir/faulty/requests"
}

# No lease, ingest, mount, unfinished snapshot or directory may be left; finished blobs may.
assert_nothing_left() {
	[ -z "$(ctr leases ls -q)" ]
	[ -z "$(ctr content active | tail -n +2)" ]
	[ -z "$(ctr snapshots ls | grep -e Active -e View)" ]
	[ -z "$(ls "$dir/root/io.containerd.content.v1.content/ingest")" ]
}
