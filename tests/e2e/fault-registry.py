#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A registry for tests that lies, hangs and breaks as it is told.

    fault-registry.py DIR [--tls CERT KEY]

DIR/blobs/sha256/*  content, DIR/index.json  as in an OCI layout: its entries have a tag each (annotation
                    org.opencontainers.image.ref.name) in every repository
DIR/port            written when it listens
DIR/requests        one line for each request: METHOD PATH RANGE STATUS BUSY, the last: how many of its method were under way
DIR/faults          read anew for each request: lines TIMES METHOD REGEX FAULT [ARGUMENT]; TIMES 0 is always, METHOD * is
                    any and RANGE a GET of a part. The first line that fits and is not used up counts. What a fault does stands at its function.
"""
import hashlib, http.server, itertools, json, os, re, select, socket, ssl, sys, threading, time, urllib.parse

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
lock = threading.Lock()
used = {}
uploads, numbers = {}, itertools.count(1)
tags = {}
busy = {}


class Gone(Exception):
    """The connection is to be closed."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 0

    # ---- faults ----

    def fault(self):
        try:
            with open(os.path.join(root, "faults")) as f:
                version = os.fstat(f.fileno()).st_mtime_ns
                lines = f.read().splitlines()
        except FileNotFoundError:
            return None, None
        for i, line in enumerate(lines):
            parts = line.split(None, 4)
            if len(parts) < 4 or line.startswith("#"):
                continue
            times, method, pattern, name = parts[:4]
            part = self.command == "GET" and "Range" in self.headers
            if method not in ("*", self.command, "RANGE" if part else "") or not re.search(pattern, self.path):
                continue
            with lock:
                count = used.get((version, i), 0)
                if int(times) and count >= int(times):
                    continue
                used[(version, i)] = count + 1
            return name, parts[4] if len(parts) > 4 else ""
        return None, None

    def hang(self):
        """Until the client goes, as long as a test may last."""
        self.wfile.flush()
        end = time.time() + 120
        while time.time() < end:
            if select.select([self.connection], [], [], 1)[0] and not self.connection.recv(65536):
                break
        raise Gone

    def early(self, name, arg):
        """Faults instead of an answer."""
        if name == "hang":
            self.hang()
        elif name == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raise Gone
        elif name == "garbage":
            self.wfile.write(b"\0\1\2 what would you like to know?\n" * 10)
            raise Gone
        elif name == "hang-header":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
            self.hang()
        elif name == "big-header":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for i in range(100000):
                self.wfile.write(b"X-%d: %s\r\n" % (i, b"a" * 1000))
            raise Gone
        elif name == "redirect-loop":
            self.answer(307, b"", {"Location": self.path})
        elif name == "redirect":
            self.answer(307, b"", {"Location": arg})
        elif name == "status":
            code, _, body = arg.partition(" ")
            self.answer(int(code), body.encode(), {"Content-Type": "application/json"})
        elif name == "slow":
            time.sleep(float(arg))
            return False
        else:
            return False
        return True

    # ---- answers ----

    def head(self, code, headers, length):
        self.status = code
        self.send_response(code)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, code, body, headers={}):
        self.head(code, headers, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def content(self, digest, data, media_type, name):
        """Bytes that a digest names, with what is to be wrong with them."""
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest}
        if name == "no-digest":
            headers["Docker-Content-Digest"] = None
        elif name == "bad-digest":
            headers["Docker-Content-Digest"] = "sha256:" + "0" * 64
        elif name == "silly-digest":
            headers["Docker-Content-Digest"] = "sha256:nonsense"
        elif name == "type":
            headers["Content-Type"] = self.argument
        elif name == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        code, start, end, size = 200, 0, len(data), len(data)
        wanted = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        if wanted and name != "no-range":
            start = int(wanted[1])
            end = min(end, int(wanted[2]) + 1) if wanted[2] else end
            if start >= size:
                return self.answer(416, b"", {"Content-Range": "bytes */%d" % size})
            code = 206
            headers["Content-Range"] = "bytes %d-%d/%d" % (start, end - 1, size)
            if name == "bad-range":
                headers["Content-Range"] = "bytes %d-%d/%d" % (start + 1, end - 1, size)
            elif name == "lying-range":
                data = bytes(size)
        data = data[start:end]
        half = data[: len(data) // 2]
        if name == "no-length":
            headers["Transfer-Encoding"] = "chunked"
            self.head(code, headers, None)
            if self.command != "HEAD":
                self.chunk(data)
                self.wfile.write(b"0\r\n\r\n")
        elif name == "endless":
            headers["Transfer-Encoding"] = "chunked"
            self.head(code, headers, None)
            self.chunk(data)
            while True:
                self.chunk(bytes(65536))
        elif name == "short":
            self.head(code, headers, len(half))
            if self.command != "HEAD":
                self.wfile.write(half)
        elif name == "long":
            self.head(code, headers, len(data) + 4096)
            if self.command != "HEAD":
                self.wfile.write(data + bytes(4096))
        elif name in ("cut", "hang-body", "trickle") and self.command != "HEAD":
            self.head(code, headers, len(data))
            self.wfile.write(half)
            if name == "hang-body":
                self.hang()
            for byte in data[len(half) :] if name == "trickle" else b"":
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.2)
            if name == "cut":
                raise Gone
        elif name == "pace" and self.command != "HEAD":
            # so many bytes a second, for tests that want to be in the middle of it
            self.head(code, headers, len(data))
            step = max(int(self.argument) // 50, 1)
            for i in range(0, len(data), step):
                self.wfile.write(data[i : i + step])
                time.sleep(0.02)
        else:
            self.head(code, headers, len(data))
            if self.command != "HEAD":
                self.wfile.write(data)

    def not_found(self, code):
        body = {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}
        self.answer(404, json.dumps(body).encode(), {"Content-Type": "application/json"})

    # ---- the registry ----

    def find_manifest(self, reference):
        if ":" in reference:
            return reference
        if reference in tags:
            return tags[reference]
        for entry in json.load(open(os.path.join(root, "index.json")))["manifests"]:
            if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == reference:
                return entry["digest"]
        return None

    def read_blob(self, digest):
        try:
            return open(os.path.join(root, "blobs", *digest.split(":")), "rb").read()
        except OSError:
            return None

    def get(self, name):
        kind, reference = self.path.split("?")[0].split("/")[-2:]
        reference = urllib.parse.unquote(reference)
        if kind == "referrers":
            return self.referrers(reference)
        digest = self.find_manifest(reference) if kind == "manifests" else reference
        data = self.read_blob(digest) if digest else None
        if data is None:
            return self.not_found("MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN")
        media_type = "application/octet-stream"
        if kind == "manifests":
            document = json.loads(data)
            media_type = document.get("mediaType") or (
                INDEXES[0] if "manifests" in document else "application/vnd.oci.image.manifest.v1+json"
            )
        self.content(digest, data, media_type, name)

    def referrers(self, subject):
        """Of all blobs those that are manifests with this subject."""
        found = []
        for entry in os.scandir(os.path.join(root, "blobs", "sha256")):
            data = open(entry.path, "rb").read() if entry.stat().st_size < 1 << 20 else b""
            try:
                document = json.loads(data)
            except ValueError:
                continue
            if isinstance(document, dict) and document.get("subject", {}).get("digest") == subject:
                found.append({
                    "mediaType": document["mediaType"], "digest": "sha256:" + entry.name, "size": len(data),
                    "artifactType": document.get("artifactType", document["config"]["mediaType"]),
                })
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": found})
        self.answer(200, body.encode(), {"Content-Type": INDEXES[0]})

    def body(self, name):
        """What is uploaded; half of it where the connection is to break."""
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length // 2 if name in ("cut", "hang-body") else length)
        return data

    def store(self, data, digest):
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if digest is not None and digest != actual:
            body = b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}'
            self.answer(400, body, {"Content-Type": "application/json"})
            return None
        with open(os.path.join(root, "blobs", "sha256", actual[7:]), "wb") as f:
            f.write(data)
        return actual

    def upload(self, name):
        path, _, query = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        if self.command == "PUT" and "/manifests/" in path:
            digest = self.store(self.body(name), None)
            tags[urllib.parse.unquote(path.split("/")[-1])] = digest
            return self.answer(201, b"", {"Docker-Content-Digest": digest})
        if self.command == "POST":
            if self.body(None) == b"" and "mount" in query and self.read_blob(query["mount"]):
                return self.answer(201, b"", {"Docker-Content-Digest": query["mount"]})
            with lock:
                number = str(next(numbers))
                uploads[number] = b""
            return self.answer(202, b"", {"Location": path + number})
        number = path.split("/")[-1]
        if number not in uploads:
            return self.not_found("BLOB_UPLOAD_UNKNOWN")
        if self.command == "GET":
            n = len(uploads[number])
            headers = {"Location": path, "Range": "0-%d" % (n - 1)} if n else {"Location": path}
            return self.answer(204, b"", headers)
        data = self.body(name)
        start = re.match(r"(\d+)-", self.headers.get("Content-Range", ""))
        if start and int(start[1]) != len(uploads[number]):
            return self.answer(416, b"", {"Range": "0-%d" % (len(uploads[number]) - 1)})
        if name == "forget":
            uploads.pop(number)
            raise Gone
        uploads[number] += data
        if name == "cut":
            raise Gone
        if name == "hang-body":
            self.hang()
        if self.command == "PATCH":
            return self.answer(202, b"", {"Location": path, "Range": "0-%d" % (len(uploads[number]) - 1)})
        digest = self.store(uploads.pop(number), query.get("digest"))
        if digest:
            self.answer(201, b"", {"Docker-Content-Digest": digest})

    def handle_any(self):
        name, self.argument = self.fault()
        with lock:
            self.busy = busy[self.command] = busy.get(self.command, 0) + 1
        try:
            if name and self.early(name, self.argument):
                return
            if self.path == "/v2/":
                self.answer(200, b"{}")
            elif self.command in ("GET", "HEAD") and "/uploads/" not in self.path:
                self.get(name)
            else:
                self.upload(name)
        except (Gone, OSError):
            self.close_connection = True
        finally:
            with lock, open(os.path.join(root, "requests"), "a") as f:
                busy[self.command] -= 1
                span = self.headers.get("Range", "-")
                f.write("%s %s %s %d %d\n" % (self.command, self.path, span, self.status, self.busy))

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


root = sys.argv[1]
server = Server(("127.0.0.1", 0), Handler)
if "--tls" in sys.argv:
    at = sys.argv.index("--tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[at + 1], sys.argv[at + 2])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
with open(os.path.join(root, "port.new"), "w") as f:
    f.write(str(server.server_port))
os.rename(os.path.join(root, "port.new"), os.path.join(root, "port"))
server.serve_forever()
