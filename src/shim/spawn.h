// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Starting programs from the shim's loop without waiting for them.
 *
 * spawn_child is vfork-like (the child borrows our memory until it execs, so nothing is copied) and gives the
 * child exactly the fds it names; a Command adds the waiting, the captured output and the kill; helper_run
 * runs one of our own functions in a forked child, for system calls that may block for long (mount, umount).
 * Loop's thread only.
 */

#include "shim/reaper.h"
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SPAWN_MAX_FDS 6

typedef struct {
	const char *file;        // path of the program; searched in PATH where it has no slash
	const char *const *argv; // NULL-terminated, with argv[0]
	char *const *envp;       // NULL: ours without NOTIFY_SOCKET
	const char *cwd;         // NULL: ours
	int fds[SPAWN_MAX_FDS];  // fds[i] becomes fd i of the child; -1: /dev/null
	unsigned n_fds;          // at least 3
	bool die_with_us;        // SIGKILL when the shim dies
	bool own_session;        // setsid, else a process group of its own
} SpawnSpec;

/* The child's pid, or -1. Error texts as Go's os/exec: `exec: "x": executable file not found in $PATH`,
 * `fork/exec /x: permission denied`. */
pid_t spawn_child(const SpawnSpec *spec, GError **error);

/* What a program said, as much as is kept (64 KiB). */
typedef struct Command Command;
/* code as in ReaperFn; output is NUL-terminated. Both are borrowed. The command is freed after. */
typedef void (*CommandFn)(int code, const char *output, size_t output_len, void *data);

#define COMMAND_CAPTURE (-1)
#define COMMAND_NULL (-2)
/* Each stream is an fd, which stays the caller's, or COMMAND_NULL (/dev/null), or (out, err) COMMAND_CAPTURE.
 * NULL: it could not be started. */
Command *command_start(Reaper *reaper, const char *file, const char *const *argv, int in, int out, int err,
                       CommandFn fn, void *data, GError **error);
/* SIGKILL to its process group; fn is called as usual when it is gone. */
void command_kill(Command *command);
pid_t command_pid(Command *command);

/* Runs fn(data, &error) in a forked child; done gets its error, or NULL, in the parent. In the parent nothing
 * changes. fn must not touch the loop. */
typedef bool (*HelperFn)(void *data, GError **error);
typedef void (*HelperDone)(GError *error, void *data); // takes the error
void helper_run(Reaper *reaper, HelperFn fn, void *fn_data, HelperDone done, void *done_data);
