// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The shim's child processes. The shim is a child subreaper, so what a runtime leaves behind (container
 * inits, execs) becomes its child; every exit arrives here, is reaped at once and handed to whoever watches
 * that pid.
 *
 * A runtime tells a new process' pid only after that process may have ended already. Between reaper_hold and
 * reaper_release exits of unknown pids are therefore kept, and reaper_adopt finds them (upstream:
 * exitSubscribers of the task service). An exit that nobody asked for is an orphan of a container and is
 * forgotten.
 *
 * Loop's thread only.
 */

#include "base/time.h"
#include "loop/loop.h"
#include <stdbool.h>
#include <sys/types.h>

typedef struct Reaper Reaper;

/* code: the exit status, or 128 + the signal's number. Called once; the pid is no longer watched then. */
typedef void (*ReaperFn)(pid_t pid, int code, TimeNs at, void *data);

/* Blocks SIGCHLD and makes the process a subreaper. */
Reaper *reaper_new(Loop *loop, GError **error);
void reaper_free(Reaper *reaper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Reaper, reaper_free)

/* A child that the caller has just started (it is not reaped before the loop runs again). */
void reaper_watch(Reaper *reaper, pid_t pid, ReaperFn fn, void *data);
void reaper_forget(Reaper *reaper, pid_t pid);

void reaper_hold(Reaper *reaper);
void reaper_release(Reaper *reaper);

/* A process that somebody else started, during a hold. True: it runs, and fn is called when it ends. False:
 * it has ended, *ret_code and *ret_at say how and when. A process that is not our child is watched through a
 * pidfd; its code is 255. */
bool reaper_adopt(Reaper *reaper, pid_t pid, ReaperFn fn, void *data, int *ret_code, TimeNs *ret_at);
