// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Child processes without fork-side work: posix_spawn, all fds O_CLOEXEC but the three given. For code on
 * workers and in clients; the shim has its own asynchronous spawner on its loop (shim/spawn.h).
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
	const char *const *argv; // argv[0] is searched in PATH where it has no slash
	const char *const *envp; // NULL: ours
	const char *cwd;         // NULL: ours
	GBytes *stdin_data;      // NULL: /dev/null
	int stdin_fd;            // used where > 0 and stdin_data is NULL
	int64_t timeout_ns;      // 0: none. When it ends the process group is killed with SIGKILL
	int cancel_fd;           // > 0: when it can be read, the child has a second to end, then as above
	size_t max_output;       // per stream, 0: 1 MiB; more is read and thrown away
	bool merge_stderr;       // stderr into out
} ProcessSpec;

typedef struct {
	int status; // wait status (WIFEXITED...)
	char *out;  // NUL-terminated
	size_t out_len;
	char *err;
	bool timed_out;
} ProcessResult;
void process_result_clear(ProcessResult *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ProcessResult, process_result_clear)

/* Runs and waits. false: could not be started (`exec: "x": executable file not found in $PATH` as Go's, or
 * fork/exec errors) or timed out (DEADLINE_EXCEEDED, or
 * CANCELED). A non-zero exit is not an error here. */
bool process_run(const ProcessSpec *spec, ProcessResult *ret, GError **error);
/* "exit status 1", "signal: killed": how Go's exec.ExitError prints a wait status. Owned by the caller. */
char *process_status_text(int status);

/* Starts a child; stdin/stdout/stderr are the fds given (-1: /dev/null). own_session: setsid. Returns pid or
 * -1. */
pid_t process_spawn(const char *const *argv, const char *const *envp, const char *cwd, int in, int out,
                    int err, bool own_session, GError **error);
/* Kill (SIGKILL) and reap a child at the end of a scope unless set to 0. */
void process_kill_cleanup(pid_t *pid);
#define autokill __attribute__((cleanup(process_kill_cleanup))) pid_t
/* PATH lookup as exec.LookPath. NULL and NOT_FOUND-free error text as Go's. */
char *process_lookup(const char *file, GError **error);

/* The soft limit of open files that children get; 0: ours. The daemon raises its own, while containers must
 * not inherit that: programs that close all descriptors up to their limit would take minutes. Set before
 * there are threads; it reaches a child right after its exec, before it can have started anything itself. */
void process_set_child_nofile(uint64_t soft);
