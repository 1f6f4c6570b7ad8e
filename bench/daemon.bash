# SPDX-License-Identifier: Apache-2.0
# The daemon idle, its small calls, and the programs' sizes.

bench_daemon() {
	local i
	for i in $(seq $((RUNS * 2 + 1))); do
		for side in ours peer; do
			[ -z "${pid[$side]:-}" ] || stop_daemon $side
			start_daemon $side
			echo "$ready" >>"$top/ready.$side"
		done
	done
	sleep 1
	for side in ours peer; do awk '/^Pss:/ {print $2}' "/proc/${pid[$side]}/smaps_rollup" >"$top/pss.$side"; done
	for i in $(seq $((RUNS * 5))); do
		for side in ours peer; do
			sample version $side 0 "${bin[$side]}/ctr" version
			sample images $side 0 "${bin[$side]}/ctr" images ls
			"$probe" rpc "${address[$side]}" 200 >>"$top/rpc.$side"
		done
		sample exec bare 0 /bin/true
	done
	local exec
	exec=$(ms "$(of exec bare 1)")
	for side in ours peer; do
		cat "${bin[$side]}"/{containerd,ctr,containerd-shim-runc-v2} | wc -c | awk '{printf "%.2f\n", $1 / 1e6}' >"$top/size.$side"
	done
	table "daemon and client" "floor: /bin/true"
	row "daemon idle, PSS, kB" "$(of pss ours 1)" "$(of pss peer 1)"
	row "from start to the first answer, ms" "$(ms "$(of ready ours 1)")" "$(ms "$(of ready peer 1)")"
	row "\`ctr version\`, ms" "$(ms "$(of version ours 1)")" "$(ms "$(of version peer 1)")" "$exec"
	row "\`ctr images ls\`, ms" "$(ms "$(of images ours 1)")" "$(ms "$(of images peer 1)")" "$exec"
	row "unary RPC, µs (our client on both)" "$(of rpc ours 1)" "$(of rpc peer 1)"
	row "containerd, ctr and shim, MB" "$(of size ours 1)" "$(of size peer 1)"
}
