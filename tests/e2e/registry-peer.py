#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What stands around a registry: a token server, a host that redirects, one that never answers.

Token server: /token, by GET and (unless --no-post) by POST, for user:pass, the refresh token r3fresh, and anonymous
pulls of public/. Tokens are JWTs as docker-registry wants them, signed with --key and --cert (RSA), good for --expires seconds.
Redirects: everything below /v2/ goes to --redirect URL. --mute: takes connections and says nothing.
Each request is a line of the log: method, path, form, and which kind of Authorization came with it, never its value.
"""
import argparse
import base64
import http.server
import json
import os
import socketserver
import subprocess
import time
import urllib.parse

args = None


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(scopes, subject):
    der = subprocess.run(["openssl", "x509", "-in", args.cert, "-outform", "der"], check=True, capture_output=True).stdout
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":", 2)
        granted = actions.split(",") if subject or (name.startswith("public/") and actions == "pull") else []
        access.append({"type": kind, "name": name, "actions": granted})
    now = int(time.time())
    claims = {"iss": "issuer", "sub": subject, "aud": args.service, "iat": now, "nbf": now - 10, "exp": now + 300,
              "jti": b64(os.urandom(8)), "access": access}
    text = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", args.key], input=text.encode(), check=True,
                               capture_output=True).stdout
    return text + "." + b64(signature)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def record(self, form=""):
        kind = self.headers.get("Authorization", "none").split(" ")[0]
        with open(args.log, "a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.path} {form} auth={kind} x={self.headers.get('X-Site', '')}\n")

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def grant(self, scopes, subject):
        value = token(scopes, subject)
        self.answer(200, {"token": value, "access_token": value, "expires_in": args.expires})

    def do_GET(self):
        self.record()
        url = urllib.parse.urlsplit(self.path)
        if args.redirect and url.path.startswith("/v2/"):
            return self.answer(307, {}, [("Location", args.redirect + self.path)])
        query = urllib.parse.parse_qs(url.query)
        auth = self.headers.get("Authorization", "")
        subject = ""
        if auth:
            if base64.b64decode(auth.split(" ")[1]) != b"user:pass":
                return self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]})
            subject = "user"
        return self.grant(query.get("scope", []), subject)

    do_HEAD = do_GET

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.record(f"grant={form['grant_type'][0]} scope={form.get('scope', [''])[0]}")
        if args.no_post:
            return self.answer(404, {})
        good = (form["grant_type"][0] == "password" and form["username"] == ["user"] and form["password"] == ["pass"]) or (
            form["grant_type"][0] == "refresh_token" and form["refresh_token"] == ["r3fresh"])
        if not good:
            return self.answer(403, {"errors": [{"code": "DENIED", "message": "wrong"}]})
        return self.grant(form.get("scope", [""])[0].split(), "user")

    def log_message(self, *_):
        pass


class Mute(socketserver.BaseRequestHandler):
    def handle(self):
        time.sleep(60)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True


def main():
    global args
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--key")
    parser.add_argument("--cert")
    parser.add_argument("--service", default="registry")
    parser.add_argument("--expires", type=int, default=300)
    parser.add_argument("--no-post", action="store_true")
    parser.add_argument("--redirect")
    parser.add_argument("--mute", action="store_true")
    args = parser.parse_args()
    server = Server(("127.0.0.1", 0), Mute if args.mute else Handler)
    with open(args.port_file + ".new", "w", encoding="utf-8") as f:
        f.write(str(server.server_address[1]))
    os.rename(args.port_file + ".new", args.port_file)
    server.serve_forever()


main()
