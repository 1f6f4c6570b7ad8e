# SPDX-License-Identifier: Apache-2.0
# Starting containers: one after the other beside the bare runtime, and many at once.

# a bundle for the runtime alone: what `ctr run --rootfs` would make of it, without its cgroup and mounts of /dev
bundle() {
	mkdir -p "$1"
	(cd "$1" && runc spec && sed -i -e 's|"sh"|"'"$2"'"|' -e 's/"terminal": true/"terminal": false/' \
		-e 's|"path": "rootfs"|"path": "'"$root"'"|' config.json)
}

# side, runtime -> N containers, AT_A_TIME at a time, started; microseconds of wall and of CPU (daemon, clients, shims
# and what they ran) to $top/many-$2.$1
many() {
	local side=$1 r=$2
	export ctr=${bin[$side]}/ctr CONTAINERD_ADDRESS=${address[$side]} root r side
	"$probe" run "${pid[$side]}" sh -c "seq $N | xargs -P $AT_A_TIME -I{} sh -c '\$ctr run -d --runc-binary \$r --rootfs \$root bench-$side-{} /bin/sleep 1000'" >"$top/one"
	local ticks=0 p
	for p in $(pgrep -f "containerd-shim-runc-v2.*$top/disk/$side"); do
		ticks=$((ticks + $(ticks "$p")))
	done
	awk -v t=$ticks -v n="$N" '{print $1, ($2 + $3 + t * 10000) / n}' "$top/one" >>"$top/many-$r.$side"
	seq "$N" | xargs -P 4 -I{} sh -c '$ctr tasks rm -f bench-$side-{} >/dev/null 2>&1; $ctr containers rm bench-$side-{}' >/dev/null
}

# runtime -> the same many by the runtime alone: nobody watches them, nothing is stored
many_bare() {
	export r=$1 top
	"$probe" run 0 sh -c "seq $N | xargs -P $AT_A_TIME -I{} sh -c '\$r create --bundle \$top/sleeper bench-{} </dev/null >/dev/null 2>&1; \$r start bench-{}'" >"$top/one"
	awk -v n="$N" '{print $1, ($2 + $3) / n}' "$top/one" >>"$top/many-$r.bare"
	seq "$N" | xargs -P 4 -I{} sh -c '$r delete -f bench-{}'
}

bench_start() {
	start_daemons
	N=${N:-100} AT_A_TIME=8
	bundle "$top/bundle" /bin/true
	bundle "$top/sleeper" '/bin/sleep","1000'
	local i r
	for r in runc crun; do
		for i in $(seq $((RUNS * 3))); do
			sample run-$r bare 0 $r run --bundle "$top/bundle" "bench-$i"
			for side in ours peer; do
				sample run-$r $side 0 "${bin[$side]}/ctr" run --rm --runc-binary $r --rootfs "$root" "bench-$side" /bin/true
			done
		done
	done
	for i in $(seq "$RUNS"); do
		for r in runc crun; do
			for side in ours peer; do many $side $r; done
			many_bare $r
		done
	done
	table "starting containers" "floor: the runtime alone"
	for r in runc crun; do
		row "\`ctr run --rm true\`, $r, ms" "$(ms "$(of run-$r ours 1)")" "$(ms "$(of run-$r peer 1)")" "$(ms "$(of run-$r bare 1)")"
	done
	for r in runc crun; do
		row "$N containers, $AT_A_TIME at a time, $r, ms" "$(ms "$(of many-$r ours 1)")" "$(ms "$(of many-$r peer 1)")" "$(ms "$(of many-$r bare 1)")"
		row "the same, CPU ms for each" "$(ms "$(of many-$r ours 2)")" "$(ms "$(of many-$r peer 2)")" "$(ms "$(of many-$r bare 2)")"
	done
}
