# SPDX-License-Identifier: Apache-2.0
# What a running container costs: memory of its shim, exec, output; a daemon that finds them all again.

shims() { pgrep -f "containerd-shim-runc-v2.*$top/disk/$1"; }
# side -> average of the shims' private memory, kB
shim_private() {
	for p in $(shims "$1"); do awk '/^Private_/ {s += $2} END {print s}' "/proc/$p/smaps_rollup"; done |
		awk '{s += $1; n++} END {print n ? int(s / n) : 0}'
}

# side, containers -> microseconds from the daemon's start until it has told of all of them as running
restarted() {
	local begin
	kill -KILL "${pid[$1]}"
	while kill -0 "${pid[$1]}" 2>/dev/null; do sleep 0.02; done
	begin=${EPOCHREALTIME/./}
	start_daemon "$1"
	while [ "$(on "$1" tasks ls | grep -c RUNNING)" -lt "$2" ]; do :; done
	echo $((${EPOCHREALTIME/./} - begin)) >>"$top/restarted.$1"
}

# side -> lines a second that came from a container that writes some 50,000, and the shim's CPU in percent of a core
lines() {
	local out=/run/bench/lines client shim before came begin
	on "$1" run --rm --runc-binary crun --rootfs --env PATH=/bin "$root" "bench-$1-lines" \
		/bin/sh -c 'while :; do cat /lines; usleep 95000; done' >$out &
	client=$!
	sleep 1
	shim=$(pgrep -f "containerd-shim-runc-v2.*-id bench-$1-lines .*$top/disk/$1")
	before=$(ticks "$shim") came=$(stat -c %s $out) begin=${EPOCHREALTIME/./}
	sleep 5
	awk -v us=$((${EPOCHREALTIME/./} - begin)) -v ticks=$(($(ticks "$shim") - before)) \
		-v lines=$((($(stat -c %s $out) - came) / 80)) \
		'BEGIN {printf "%d %.1f\n", lines * 1e6 / us, ticks * 1e6 / us}' >>"$top/lines.$1"
	on "$1" tasks kill -s KILL "bench-$1-lines"
	wait "$client" || true
	rm $out
}

bench_shim() {
	start_daemons
	local n=${SHIMS:-50} execs=${EXECS:-300} i
	. "$here/start.bash"
	for side in ours peer; do
		export ctr=${bin[$side]}/ctr CONTAINERD_ADDRESS=${address[$side]} root side
		seq $n | xargs -P 4 -I{} sh -c '$ctr run -d --runc-binary crun --rootfs $root bench-$side-{} /bin/sleep 1000'
	done
	sleep 3
	for side in ours peer; do shim_private $side >"$top/private.$side"; done
	bundle "$top/exec-bundle" /bin/sleep
	sed -i 's|"/bin/sleep"|"/bin/sleep", "1000"|' "$top/exec-bundle/config.json"
	crun run --detach --bundle "$top/exec-bundle" bench-exec >/dev/null </dev/null
	for i in $(seq $((RUNS * 5))); do
		sample exec-crun bare 0 crun exec bench-exec /bin/true
		for side in ours peer; do sample exec-crun $side 0 "${bin[$side]}/ctr" tasks exec --exec-id "e$i" bench-$side-1 /bin/true; done
	done
	crun delete -f bench-exec
	for side in ours peer; do
		for i in $(seq "$execs"); do on $side tasks exec --exec-id "x$i" bench-$side-2 /bin/true; done
		sleep 2
		p=$(pgrep -f "containerd-shim-runc-v2.*-id bench-$side-2 .*$top/disk/$side")
		awk '/^Private_/ {s += $2} END {print s}' "/proc/$p/smaps_rollup" >"$top/after.$side"
	done
	for i in $(seq "$RUNS"); do
		for side in ours peer; do restarted $side "$n"; done
	done
	for p in sh cat usleep; do cp /bin/busybox "$root/bin/$p"; done
	yes "$(printf '%079d' 0)" | head -5000 >"$root/lines" || true
	for side in ours peer; do lines $side; done
	for side in ours peer; do
		export ctr=${bin[$side]}/ctr CONTAINERD_ADDRESS=${address[$side]} side
		seq $n | xargs -P 4 -I{} sh -c '$ctr tasks rm -f bench-$side-{} >/dev/null 2>&1; $ctr containers rm bench-$side-{}' >/dev/null
	done
	table "shims, crun" "floor: the runtime alone"
	row "one of $n shims, private memory, kB" "$(of private ours 1)" "$(of private peer 1)"
	row "a shim after $execs execs, kB" "$(of after ours 1)" "$(of after peer 1)"
	row "\`ctr tasks exec true\`, ms" "$(ms "$(of exec-crun ours 1)")" "$(ms "$(of exec-crun peer 1)")" "$(ms "$(of exec-crun bare 1)")"
	row "a killed daemon, until it tells of all $n again, ms" "$(ms "$(of restarted ours 1)")" "$(ms "$(of restarted peer 1)")"
	row "80-byte lines a second through a FIFO" "$(of lines ours 1)" "$(of lines peer 1)"
	row "the shim meanwhile, % of a core" "$(of lines ours 2)" "$(of lines peer 2)"
}
