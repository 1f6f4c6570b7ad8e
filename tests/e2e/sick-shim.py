#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shims that are not well, and connections that break.

sick-shim.py listen SOCKET MODE   a listener: mute (takes connections and says nothing), deaf (does not even take
                                  them), garbage (answers noise), half (closes at once)
sick-shim.py cut PID PATH         ends process PID's connection to the socket PATH, as if the network had
"""
import ctypes, os, socket, sys, threading


def serve(connection, mode):
    try:
        if mode == "half":
            return
        while connection.recv(65536):
            if mode == "garbage":
                connection.sendall(os.urandom(4096))
    except OSError:
        pass
    finally:
        if mode in ("half", "garbage"):
            connection.close()


def listen(path, mode):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(16)
    while True:
        if mode == "deaf":
            threading.Event().wait()
        c, _ = s.accept()
        threading.Thread(target=serve, args=(c, mode), daemon=True).start()


def cut(pid, path):
    pidfd = os.pidfd_open(pid)
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    n = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
        except OSError:
            continue
        copy = syscall(438, pidfd, int(fd), 0)  # pidfd_getfd
        if copy < 0:
            continue
        with socket.socket(fileno=copy) as s:
            try:
                if s.getpeername() == path:
                    s.shutdown(socket.SHUT_RDWR)
                    n += 1
            except OSError:
                pass
    sys.exit(0 if n > 0 else 1)


if sys.argv[1] == "listen":
    listen(sys.argv[2], sys.argv[3])
else:
    cut(int(sys.argv[2]), sys.argv[3])
