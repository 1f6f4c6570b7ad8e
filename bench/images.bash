# SPDX-License-Identifier: Apache-2.0
# The images of the pull section, in OCI layouts: the same bytes each time on one machine.
#   tiny            busybox
#   big-gz, big-zst some 500 MB of this machine's /usr in 7 layers
#   half-gz, half-zst  their lower layers, which hold half of the bytes
#   small           one layer of 60,000 small files

blob() { # file -> "digest size", moved into the layout $2
	local digest size
	digest=$(openssl dgst -sha256 -r "$1" | cut -d' ' -f1)
	size=$(stat -c %s "$1")
	rm -f "$2/blobs/sha256/$digest"
	mv "$1" "$2/blobs/sha256/$digest"
	echo "$digest $size"
}

# layout, media type's suffix, compressor, tar files... -> one image in the layout
image() {
	local out=$1 type=$2 tar digest size diff layers='' diffs='' c=$3
	shift 3
	mkdir -p "$out/blobs/sha256"
	for tar; do
		diff=$(openssl dgst -sha256 -r "$tar" | cut -d' ' -f1)
		[ -e "$tar.$type" ] || $c <"$tar" >"$tar.$type"
		ln -f "$tar.$type" "$out/layer"
		read -r digest size < <(blob "$out/layer" "$out")
		layers="$layers,{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+$type\",\"digest\":\"sha256:$digest\",\"size\":$size}"
		diffs="$diffs,\"sha256:$diff\""
	done
	printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/bin/true"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
		"$(dpkg --print-architecture)" "${diffs#,}" >"$out/config"
	read -r digest size < <(blob "$out/config" "$out")
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[%s]}' \
		"$digest" "$size" "${layers#,}" >"$out/manifest"
	read -r digest size < <(blob "$out/manifest" "$out")
	printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d}]}' \
		"$digest" "$size" >"$out/index.json"
	printf '{"imageLayoutVersion":"1.0.0"}' >"$out/oci-layout"
}

# tars of some 500 MB of /usr: the first layer has 40%, the next ones ever less
big_tars() {
	find /usr/bin /usr/lib /usr/share -xdev -type f -size -20M -printf '%s %p\n' | LC_ALL=C sort -k2 |
		awk -v dir="$1" 'BEGIN {split("200 100 80 60 40 20 10", mb); layer = 1}
			function add(path) { # with the directories above it
				if (path in seen) return
				seen[path] = 1
				if (match(path, /.*\//)) add(substr(path, 1, RLENGTH - 1))
				print path > (dir "/list." layer)
			}
			/\/(modules|debug|cargo|rust|jvm)\// {next}
			NR % 3 {sum += $1; sub(/^[0-9]+ \//, ""); add($0)
				if (sum > mb[layer] * 1e6) {sum = 0; delete seen; if (++layer > 7) exit}}'
	local i
	for i in 1 2 3 4 5 6 7; do
		tar -C / --owner=0 --group=0 --numeric-owner --mtime=@1700000000 --no-recursion -T "$1/list.$i" -cf "$1/big.$i.tar"
	done
}

make_images() { # folder
	local kind job
	[ ! -e "$1/done" ] || return 0
	mkdir -p "$1/tiny-root/bin"
	cp /bin/busybox "$1/tiny-root/bin/true"
	tar -C "$1/tiny-root" --owner=0 --group=0 --numeric-owner --mtime=@1700000000 -cf "$1/tiny.tar" bin
	"$build/src/diff/layer-bench" small 60000 "$1/small.tar" >/dev/null
	big_tars "$1"
	image "$1/tiny" gzip "gzip -n" "$1/tiny.tar"
	image "$1/small" gzip "gzip -n" "$1/small.tar"
	for kind in big half; do
		local tars=("$1"/big.[1-7].tar)
		[ $kind = big ] || tars=("$1"/big.[12].tar)
		image "$1/$kind-gz" gzip "gzip -n" "${tars[@]}" &
		job=$!
		image "$1/$kind-zst" zstd "zstd -q" "${tars[@]}"
		wait $job
	done
	touch "$1/done"
}
