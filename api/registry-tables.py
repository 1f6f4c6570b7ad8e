#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables behind registry.c: every message and service that protoc-c has made, by full name, and the methods
that stream (which protobuf-c's descriptors do not tell).

usage: registry-tables.py OUTPUT FILE...   (.pb-c.c for the descriptors, .proto for the streams; others are ignored)
"""
import re
import sys


def descriptors(kind, magic, files):
    """(full name, symbol) of the descriptors of one kind, sorted by name as strcmp does."""
    pattern = re.compile(r"^const %s (\w+) =\n\{\n\s*%s,\n\s*\"([^\"]+)\"" % (kind, magic), re.MULTILINE)
    return sorted((name, symbol) for text in files for symbol, name in pattern.findall(text))


def streams(text):
    """(path, client streams, server streams) of the streaming methods of one .proto file."""
    text = re.sub(r"//.*", "", text)
    package = re.search(r"^package ([\w.]+);", text, re.MULTILINE).group(1)
    rpc = re.compile(r"rpc\s+(\w+)\s*\(\s*(stream\s)?[^)]*\)\s*returns\s*\(\s*(stream\s)?")
    for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        for method, client, server in rpc.findall(body):
            if client or server:
                yield f"{package}.{service}/{method}", bool(client), bool(server)


def table(kind, name, rows):
    lines = [f"extern const {kind} {symbol};" for _, symbol in rows]
    lines += [f"const {kind} *const {name}[] = {{"] + [f"\t&{symbol}," for _, symbol in rows] + ["};"]
    return lines + [f"const size_t {name}_n = {len(rows)};", ""]


def main():
    output, *paths = sys.argv[1:]
    generated = [open(p, encoding="utf-8").read() for p in paths if p.endswith(".pb-c.c")]
    protos = [open(p, encoding="utf-8").read() for p in paths if p.endswith(".proto")]
    messages = descriptors("ProtobufCMessageDescriptor", "PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC", generated)
    services = descriptors("ProtobufCServiceDescriptor", "PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC", generated)
    assert messages and services
    rows = sorted(s for text in protos for s in streams(text))

    lines = ["/* Made by registry-tables.py. */", '#include "api/registry-private.h"', ""]
    lines += table("ProtobufCMessageDescriptor", "api_table_messages", messages)
    lines += table("ProtobufCServiceDescriptor", "api_table_services", services)
    lines += ["const ApiStream api_table_streams[] = {"]
    lines += ['\t{"%s", %s, %s},' % (path, str(c).lower(), str(s).lower()) for path, c, s in rows]
    lines += ["};", f"const size_t api_table_streams_n = {len(rows)};"]
    with open(output, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


main()
