# SPDX-License-Identifier: Apache-2.0
# The metadata database alone, on a disk whose fsync takes 5 ms more than it does.

bench_meta() {
	printf '\n| durable label updates, fsync + 5 ms | updates/s | fsyncs a commit | median ms | 99%% ms |\n|---|---|---|---|---|\n'
	"$build/src/store/meta-bench" "$top/disk" 5 1 | sed -nE \
		's/^ *([0-9]+) callers: *([0-9]+) updates.s, .*, ([0-9.]+) fsyncs a commit; ms: median ([0-9.]+), 99% ([0-9.]+),.*/| \1 callers at once | \2 | \3 | \4 | \5 |/p'
}
