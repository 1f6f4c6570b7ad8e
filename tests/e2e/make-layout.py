#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An OCI layout with one image of each kind that registries have, made from nothing and always the same.

    make-layout.py DIR [BYTES of each layer, default 300000]

Tags: 1 (gzip layers), plain, list (Docker's types), index (two platforms), nested (index in an index), artifact, foreign,
signature (whose subject is 1), ambiguous, schema1, mismatch (an index that says it is a manifest), zstd where there is a
zstd program.
"""
import gzip, hashlib, io, json, os, random, shutil, subprocess, sys, tarfile

root, size = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300000
here = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
os.makedirs(os.path.join(root, "blobs", "sha256"), exist_ok=True)
entries = []


def put(data, media_type, **more):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(root, "blobs", "sha256", digest), "wb") as f:
        f.write(data)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data), **more}


def document(media_type, content, **more):
    return put(json.dumps({"schemaVersion": 2, "mediaType": media_type, **content}).encode(), media_type, **more)


def tag(name, descriptor):
    entries.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})
    return descriptor


def layer(number):
    """A tar: directories, a few small files and one large one, the same for the same number."""
    noise = random.Random(number)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        def add(name, data=None):
            info = tarfile.TarInfo(name)
            info.mtime = 1700000000
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        add("l%d" % number)
        add("l%d/big" % number, noise.randbytes(size))
        for i in range(20):
            add("l%d/f%d" % (number, i), noise.randbytes(100 + i))
        add("shared", b"layer %d\n" % number)
    return out.getvalue()


def image(name, kinds, docker=False, arch=here, base=0, variant=None, annotate=None):
    """kinds: the compression of each layer."""
    diffs, layers = [], []
    for i, kind in enumerate(kinds):
        tar = layer(base + i)
        diffs.append("sha256:" + hashlib.sha256(tar).hexdigest())
        suffix = {"gzip": "+gzip", "zstd": "+zstd", "foreign": "+gzip", "none": ""}[kind]
        data = {
            "gzip": lambda: gzip.compress(tar, 1, mtime=0), "foreign": lambda: gzip.compress(tar, 1, mtime=0),
            "none": lambda: tar,
            "zstd": lambda: subprocess.run(["zstd", "-qc"], input=tar, stdout=subprocess.PIPE, check=True).stdout,
        }[kind]()
        media_type = DOCKER + "image.rootfs.diff.tar.gzip" if docker else OCI + "layer.v1.tar" + suffix
        if kind == "foreign":
            media_type = OCI + "layer.nondistributable.v1.tar+gzip"
        layers.append(put(data, media_type))
        if kind == "foreign" and "FOREIGN_URL" in os.environ:
            layers[-1]["urls"] = [os.environ["FOREIGN_URL"] + layers[-1]["digest"]]
    platform = {"architecture": arch, "os": "linux", **({"variant": variant} if variant else {})}
    config = {**platform, "config": {"Cmd": ["/x"]}, "rootfs": {"type": "layers", "diff_ids": diffs}}
    config = put(json.dumps(config).encode(), DOCKER + "container.image.v1+json" if docker else OCI + "config.v1+json")
    media_type = DOCKER + "distribution.manifest.v2+json" if docker else OCI + "manifest.v1+json"
    descriptor = document(media_type, {"config": config, "layers": layers}, platform=platform)
    return tag(name, descriptor) if name else descriptor


def index(name, manifests, media_type=OCI + "index.v1+json", **more):
    return tag(name, document(media_type, {"manifests": manifests, **more}))


one = image("1", ["gzip"] * 3)
image("plain", ["none", "gzip"], base=10)
image("foreign", ["foreign", "gzip"], base=20)
docker = image(None, ["gzip"] * 2, docker=True, base=30)
index("list", [docker], DOCKER + "distribution.manifest.list.v2+json")
other = image(None, ["gzip"], arch="arm", variant="v7", base=40)
both = index("index", [other, one])
index("nested", [both])
empty = put(b"{}", "application/vnd.oci.empty.v1+json")
blob = put(b"an artifact's content\n", "text/plain")
tag("artifact", document(OCI + "manifest.v1+json", {
    "artifactType": "application/vnd.example.thing", "config": empty, "layers": [blob]}))
tag("signature", document(OCI + "manifest.v1+json", {
    "artifactType": "application/vnd.example.signature", "config": empty, "layers": [blob],
    "subject": {k: one[k] for k in ("mediaType", "digest", "size")}}))
config = {"mediaType": OCI + "config.v1+json", "digest": one["digest"], "size": one["size"]}
tag("ambiguous", document(OCI + "manifest.v1+json", {"config": config, "layers": [], "manifests": [one]}))
tag("mismatch", document(OCI + "manifest.v1+json", {"manifests": [one]}))
tag("schema1", put(json.dumps({
    "schemaVersion": 1, "mediaType": DOCKER + "distribution.manifest.v1+prettyjws", "name": "a", "tag": "b",
    "fsLayers": [], "history": []}).encode(), DOCKER + "distribution.manifest.v1+prettyjws"))
if shutil.which("zstd"):
    image("zstd", ["zstd", "gzip"], base=50)
with open(os.path.join(root, "index.json"), "w") as f:
    json.dump({"schemaVersion": 2, "manifests": entries}, f)
with open(os.path.join(root, "oci-layout"), "w") as f:
    f.write('{"imageLayoutVersion": "1.0.0"}')
