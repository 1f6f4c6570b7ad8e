#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is a daemon's root directory what its metadata say? For the copy of a disk after a power cut; no daemon may run on it.

    check-root.py ROOT LAYOUT

Blobs: every file has the digest that is its name, every row has its file. Committed snapshots of overlayfs: each has
exactly what its layer in LAYOUT (an OCI layout) has, byte by byte. Images: their target is there. Prints what is wrong, and
at the end how much there was.
"""
import gzip, hashlib, io, json, os, sqlite3, subprocess, sys, tarfile

root, layout = sys.argv[1:3]
blobs = os.path.join(root, "io.containerd.content.v1.content", "blobs", "sha256")
snapshots = os.path.join(root, "io.containerd.snapshotter.v1.overlayfs", "snapshots")
wrong = []


def read(directory, digest):
    with open(os.path.join(directory, digest.removeprefix("sha256:")), "rb") as f:
        return f.read()


def chains():
    """Chain id -> the tar of its topmost layer, of all images of the layout."""
    source = os.path.join(layout, "blobs", "sha256")
    found = {}
    for name in os.listdir(source):
        try:
            manifest = json.loads(read(source, name))
            layers = manifest["layers"]
            diffs = json.loads(read(source, manifest["config"]["digest"]))["rootfs"]["diff_ids"]
        except (ValueError, KeyError, TypeError):
            continue
        chain = None
        for layer, diff in zip(layers, diffs):
            chain = diff if chain is None else "sha256:" + hashlib.sha256(f"{chain} {diff}".encode()).hexdigest()
            found[chain] = layer
    return source, found


def tree_of_tar(data, media_type):
    if media_type.endswith("gzip"):
        data = gzip.decompress(data)
    elif media_type.endswith("zstd"):
        data = subprocess.run(["zstd", "-qdc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() if m.isfile() else None for m in tar}


def tree_of_directory(top):
    tree = {}
    for path, directories, files in os.walk(top):
        for name in directories:
            tree[os.path.relpath(os.path.join(path, name), top)] = None
        for name in files:
            with open(os.path.join(path, name), "rb") as f:
                tree[os.path.relpath(os.path.join(path, name), top)] = f.read()
    return tree


files = os.listdir(blobs) if os.path.isdir(blobs) else []
for name in files:
    if hashlib.sha256(read(blobs, name)).hexdigest() != name:
        wrong.append("blob with other content: " + name)
rows = committed = 0
path = os.path.join(root, "io.containerd.metadata.v1.bolt", "meta.sqlite")
if not os.path.exists(path):
    path = next(os.path.join(d, f) for d, _, fs in os.walk(root) for f in fs if f == "meta.sqlite")
db = sqlite3.connect(path)
if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
    wrong.append("the database is damaged")
tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
if "blob" in tables:
    for digest, size in db.execute("SELECT digest, size FROM blob"):
        rows += 1
        path = os.path.join(blobs, digest.removeprefix("sha256:"))
        if not os.path.exists(path) or os.path.getsize(path) != size:
            wrong.append("blob without its file: " + digest)
    for name, digest in db.execute("SELECT name, digest FROM image"):
        if not os.path.exists(os.path.join(blobs, digest.removeprefix("sha256:"))):
            wrong.append("image without its target: " + name)
    source, known = chains()
    for number, key in db.execute("SELECT id, key FROM snapshot WHERE kind = 3 AND snapshotter = 'overlayfs'"):
        committed += 1
        layer = known[key]
        want = tree_of_tar(read(source, layer["digest"]), layer["mediaType"])
        got = tree_of_directory(os.path.join(snapshots, str(number), "fs"))
        for name in sorted(want.keys() | got.keys()):
            if name not in got:
                wrong.append(f"snapshot {number}: {name} is missing")
            elif name not in want or got[name] != want[name]:
                wrong.append(f"snapshot {number}: {name} is not what the layer says")
print("\n".join(wrong + [f"{rows} blobs, {len(files)} files, {committed} committed snapshots"]))
sys.exit(1 if wrong else 0)
