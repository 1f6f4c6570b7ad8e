#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what `ctr events` printed against what a task's life must look like.

usage: history.py [--gaps] EVENTS

For each task: create, start, exit, delete, in this order and each once; the exit of a start, not of something else (its
pid); for each exec: exec-added, exec-started, exit, before the task's own exit; nothing after delete. With --gaps events
may be missing (the reader was away while the daemon was killed), but what is there must be in order and nothing may
come twice. A task that died with its shim is told by the daemon: exit and delete, with the pid the shim had or none.
Prints what is wrong, and a line with the counts; exit status 1 where anything is.
"""
import json, re, sys

RANK = {"create": 0, "start": 1, "exit": 2, "delete": 3}
EXEC_RANK = {"exec-added": 0, "exec-started": 1, "exec-exit": 2}


def events(path):
    for line in open(path, errors="replace"):
        m = re.search(r"\s(\S+) /tasks/(\S+) (\{.*)$", line)
        if m is None:
            continue
        try:
            body = json.loads(m.group(3))
        except ValueError:
            continue  # cut off by a kill
        yield m.group(2), body


class Task:
    def __init__(self):
        self.pid = None
        self.seen = []
        self.execs = {}


def main():
    gaps = "--gaps" in sys.argv[1:]
    path = [a for a in sys.argv[1:] if not a.startswith("--")][0]
    tasks, wrong, lives, execs, total = {}, [], 0, 0, 0

    def bad(cid, text):
        wrong.append(f"{cid}: {text}")

    for topic, body in events(path):
        total += 1
        cid = body.get("container_id", "")
        if topic == "create":
            old = tasks.get(cid)
            if old is not None and not gaps:
                bad(cid, f"created again after {old.seen}")
            tasks[cid] = Task()
            lives += 1
        task = tasks.get(cid)
        if task is None:
            if not gaps:
                bad(cid, f"{topic} of a task that was not created")
                continue
            task = tasks[cid] = Task()
        exec_id = body.get("exec_id", "")
        if topic == "exit" and body.get("id", cid) not in ("", cid):
            topic, exec_id = "exec-exit", body["id"]
        if topic in EXEC_RANK:
            seen = task.execs.setdefault(exec_id, [])
            if topic == "exec-added" and seen and (seen[-1] == "exec-exit" or gaps):
                seen.clear()  # the id is used again
            if seen and EXEC_RANK[topic] <= EXEC_RANK[seen[-1]]:
                bad(cid, f"{topic} of exec {exec_id} after {seen}")
            elif not gaps and len(seen) != EXEC_RANK[topic]:
                bad(cid, f"{topic} of exec {exec_id} after only {seen}")
            if "exit" in task.seen and topic != "exec-exit":
                bad(cid, f"{topic} of exec {exec_id} after the task's exit")
            elif "exit" in task.seen:
                bad(cid, f"exit of exec {exec_id} after the task's exit")
            seen.append(topic)
            execs += topic == "exec-exit"
            continue
        if topic not in RANK:
            continue
        if topic in ("create", "start"):
            if task.pid is not None and body.get("pid") != task.pid:
                bad(cid, f"{topic} with pid {body.get('pid')}, created with {task.pid}")
            task.pid = body.get("pid")
        if task.seen and RANK[topic] <= RANK[task.seen[-1]]:
            bad(cid, f"{topic} after {task.seen}")
        if topic == "exit" and task.pid and body.get("pid") not in (task.pid, None, 0):
            bad(cid, f"exit of pid {body.get('pid')}, started was {task.pid}")
        if topic == "delete" and not gaps and "exit" not in task.seen:
            bad(cid, f"delete after only {task.seen}")
        task.seen.append(topic)
        if topic == "delete":
            for e, seen in task.execs.items():
                if not gaps and "exec-started" in seen and "exec-exit" not in seen:
                    bad(cid, f"no exit of exec {e}")
            del tasks[cid]
    if not gaps:
        for cid, task in tasks.items():
            bad(cid, f"ends with {task.seen}")
    for w in wrong[:50]:
        print("history:", w)
    print(f"history: {total} events, {lives} lives, {execs} execs, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


main()
