# SPDX-License-Identifier: Apache-2.0
# Pull and unpack from a registry on loopback, and what the parts of it cost by themselves.

start_registry() {
	port=$((20000 + RANDOM % 20000))
	cat >"$top/registry.yml" <<-YML
		version: 0.1
		log: {level: error, accesslog: {disabled: true}}
		storage: {filesystem: {rootdirectory: $top/registry}}
		http: {addr: 127.0.0.1:$port}
	YML
	docker-registry serve "$top/registry.yml" >"$top/registry.log" 2>&1 &
	registry=$!
	until (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
	local name
	for name in tiny big-gz big-zst half-gz half-zst small; do
		skopeo copy -q --dest-tls-verify=false "oci:$images/$name" "docker://127.0.0.1:$port/bench/$name:1"
	done
}

# side: nothing is left of any image
forget() {
	on "$1" images ls -q | xargs -r env CONTAINERD_ADDRESS="${address[$1]}" "${bin[$1]}/ctr" images rm --sync >/dev/null
	[ -z "$(on "$1" content ls -q)$(on "$1" snapshots ls | tail -n +2)" ] || { echo "$1 keeps what no image has" >&2 && exit 1; }
	sync -f "$top/disk"
}

# name, image, image to have before or ""
pull() {
	for i in $(seq "$RUNS"); do
		for side in ours peer; do
			forget $side
			[ -z "$3" ] || on $side images pull --plain-http "127.0.0.1:$port/bench/$3:1" >/dev/null
			sync -f "$top/disk"
			sample "pull-$1" $side "${pid[$side]}" "${bin[$side]}/ctr" images pull --plain-http "127.0.0.1:$port/bench/$2:1"
		done
	done
}

# name, command: its wall and CPU time
floor() {
	local i
	for i in $(seq "$RUNS"); do
		rm -rf "$top/disk/floor"
		mkdir "$top/disk/floor"
		sync -f "$top/disk"
		sample "floor-$1" bare 0 sh -c "$2"
	done
	rm -rf "$top/disk/floor"
}

# image, decompressor, tars... -> "slowest wall, sum of CPU", in us
floors() {
	local name=$1 inflate=$2 blobs f digest
	shift 2
	blobs=$(find "$images/$name/blobs" -type f -size +20k -printf '%p ')
	local urls=''
	for f in $blobs; do urls="$urls -o /dev/null http://127.0.0.1:$port/v2/bench/$name/blobs/sha256:${f##*/}"; done
	floor "$name-copy" "curl -s $urls"
	floor "$name-sha256" "cat $blobs $* | openssl dgst -sha256"
	floor "$name-inflate" "for f in $blobs; do $inflate <\$f >/dev/null; done"
	floor "$name-write" "cat $blobs >$top/disk/floor/blobs; cd $top/disk/floor; for t in $*; do tar -xf \$t; done"
	floor "$name-sync" "cat $blobs >$top/disk/floor/blobs; cd $top/disk/floor; for t in $*; do tar -xf \$t; done; sync -f $top/disk"
	local part
	for part in copy sha256 inflate write; do echo "$(of "floor-$name-$part" bare 1) $(of "floor-$name-$part" bare 2)"; done |
		awk '{if ($1 > w) w = $1; c += $2} END {print w, c}' >"$top/floor-$name"
}

pull_row() { # title, name, image of the floor or ""
	local floor=''
	[ -z "$3" ] || floor=$(awk -v n="$(nproc)" '{f = $2 / n > $1 ? $2 / n : $1; printf "%.0f", f / 1000}' "$top/floor-$3")
	row "$1, ms" "$(ms "$(of "pull-$2" ours 1)")" "$(ms "$(of "pull-$2" peer 1)")" "$floor"
	for side in ours peer; do
		awk '{print $2 + $3}' "$top/pull-$2.$side" >"$top/cpu-$2.$side"
		awk -v s=$side '{printf "%.1f\n", ($4 + (s == "peer" ? $5 : 0)) / 1024}' "$top/pull-$2.$side" >"$top/mem-$2.$side"
	done
	[ -z "$3" ] || floor=$(awk '{printf "%.0f", $2 / 1000}' "$top/floor-$3")
	row "- CPU of daemon and client, ms" "$(ms "$(of "cpu-$2" ours 1)")" "$(ms "$(of "cpu-$2" peer 1)")" "$floor"
	row "- peak memory above idle, MB" "$(of "mem-$2" ours 1)" "$(of "mem-$2" peer 1)"
}

bench_pull() {
	start_daemons
	images=${BENCH_IMAGES:-$top/images}
	. "$here/images.bash"
	make_images "$images"
	start_registry
	floors big-gz "igzip -d" "$images"/big.[1-7].tar
	floors big-zst "zstd -d" "$images"/big.[1-7].tar
	floors small "igzip -d" "$images/small.tar"
	pull tiny tiny ''
	pull big-gz big-gz ''
	pull big-zst big-zst ''
	pull half-gz big-gz half-gz
	pull half-zst big-zst half-zst
	pull small small ''
	for side in ours peer; do forget $side; done
	local mb
	mb=$(cat "$images"/big.[1-7].tar | wc -c | awk '{printf "%.0f", $1 / 1e6}')
	table "pull and unpack, registry on loopback" "floor: max(slowest part, CPU of all parts / cores); CPU of all parts"
	pull_row "tiny image" tiny ''
	pull_row "$mb MB in 7 gzip layers" big-gz big-gz
	pull_row "the same, zstd" big-zst big-zst
	pull_row "gzip, half of it there" half-gz ''
	pull_row "zstd, half of it there" half-zst ''
	pull_row "60,000 files in one layer" small small
	local name part
	printf '\n| parts of the floor, wall / CPU ms | copy over loopback (curl) | SHA-256 of both forms | decompress | tar -x | tar -x and sync |\n|---|---|---|---|---|---|\n'
	for name in big-gz big-zst small; do
		printf '| %s ' $name
		for part in copy sha256 inflate write sync; do
			printf '| %s / %s ' "$(ms "$(of "floor-$name-$part" bare 1)")" "$(ms "$(of "floor-$name-$part" bare 2)")"
		done
		echo '|'
	done
}
