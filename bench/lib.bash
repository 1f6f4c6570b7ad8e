# SPDX-License-Identifier: Apache-2.0
# What the sections share: two daemons on one file system, the stop-watch, the tables. "ours" and "peer" are the sides.

RUNS=${RUNS:-3}
declare -A bin=([ours]=$build/stripped [peer]=/usr/bin) pid address

bench_begin() {
	top=$(mktemp -d /tmp/ctrd-bench.XXXXXX)
	trap bench_end EXIT
	ninja -C "$build" src/rpc/probe src/diff/layer-bench src/store/meta-bench >"$top/ninja" || { cat "$top/ninja" && exit 1; }
	probe=$build/src/rpc/probe
	bin[ours]=$top/bin
	mkdir -p "$top/bin" "$top/disk"
	for p in containerd ctr containerd-shim-runc-v2; do strip -o "$top/bin/$p" "$build/bin/$p"; done
	truncate -s 24G "$top/disk.img"
	mkfs.ext4 -q -F -E nodiscard "$top/disk.img"
	# directly to the disk: the page cache of the file below would make every sync write all of it
	loop=$(losetup --find --show --direct-io=on "$top/disk.img")
	mount "$loop" "$top/disk"
	losetup --detach "$loop" # once it is unmounted
	root=$top/disk/rootfs
	mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/run" "$root/sys" # or crun makes them, and two at once cannot
	cp /bin/busybox "$root/bin/sleep"
	cp /bin/busybox "$root/bin/true"
	echo "$(date -u +%F), $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), Linux $(uname -r)," \
		"load $(cut -d' ' -f1 /proc/loadavg) at the start; containerd $(dpkg-query -W -f '${Version}' containerd)," \
		"runc $(dpkg-query -W -f '${Version}' runc), crun $(dpkg-query -W -f '${Version}' crun)"
}

bench_end() {
	local p
	for p in "${pid[@]}" ${registry:-}; do kill "$p" 2>/dev/null || true; done
	for p in $(pgrep -f -- "containerd-shim-runc-v2.*$top"); do kill -9 "$p"; done
	sleep 0.3
	umount -R /run/bench/*/*/*/*/rootfs 2>/dev/null || true
	umount -R "$top/disk" || umount -l "$top/disk"
	rm -rf "$top"
}

# side -> its configuration, where it is missing
config() {
	address[$1]=$top/disk/$1/c.sock
	mkdir -p "$top/disk/$1"
	cat >"$top/disk/$1/config.toml" <<-TOML
		version = 2
		root = "$top/disk/$1/root"
		state = "/run/bench/$1"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		address = "${address[$1]}"
	TOML
}

# side -> runs it; pid[side], and the microseconds until it answered in $ready
start_daemon() {
	config "$1"
	rm -f "${address[$1]}"
	read -r ready "pid[$1]" < <(PATH=${bin[$1]}:$PATH exec "$probe" ready "${address[$1]}" \
		"${bin[$1]}/containerd" --config "$top/disk/$1/config.toml" --log-level error 2>>"$top/$1.log")
	[ -n "${pid[$1]}" ] || { tail -20 "$top/$1.log" >&2 && exit 1; }
}

stop_daemon() {
	kill "${pid[$1]}"
	while kill -0 "${pid[$1]}" 2>/dev/null; do sleep 0.02; done
	unset "pid[$1]"
}

start_daemons() { for side in ours peer; do [ -n "${pid[$side]:-}" ] || start_daemon $side; done; }

# side, arguments of ctr
on() {
	local s=$1
	shift
	CONTAINERD_ADDRESS=${address[$s]} "${bin[$s]}/ctr" "$@"
}

# pid -> its CPU time and that of the children it reaped, in ticks
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13 + $14 + $15}'; }

median() { sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }

# file, side or "bare", daemon's pid or 0, command...: one measurement of the stop-watch, a line of file
sample() {
	local file=$top/$1.$2 s=$2 daemon=$3
	shift 3
	CONTAINERD_ADDRESS=${address[$s]:-} "$probe" run "$daemon" "$@" >>"$file"
}
# file, side, column -> median
of() { cut -d' ' -f"$3" "$top/$1.$2" | median; }

table() { # title of the first column, title of the last
	printf '\n| %s | ours | Debian'"'"'s containerd | ratio | %s |\n|---|---|---|---|---|\n' "$1" "${2:-floor}"
}
# name, ours, peer, floor (may be missing): numbers with one unit
row() { awk -v n="$1" -v a="$2" -v b="$3" -v f="${4:-}" 'BEGIN {printf "| %s | %s | %s | %.2f | %s |\n", n, a, b, (b > 0 ? a / b : 0), f}'; }
# microseconds to milliseconds
ms() { awk -v u="$1" 'BEGIN {printf u < 10000 ? "%.2f" : u < 100000 ? "%.1f" : "%.0f", u / 1000}'; }
