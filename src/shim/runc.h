// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The OCI runtime's command line (runc, crun and relatives), as go-runc drives it: global flags, one command,
 * errors from the exit status, the output, and the last error of its JSON log. Asynchronous; loop's thread
 * only.
 */

#include "shim/options.h"
#include "shim/spawn.h"

typedef struct {
	Loop *loop;
	Reaper *reaper;
	char *command; // name or path
	char *root;    // options.root or RUNC_DEFAULT_ROOT, with the namespace
	char *log;     // <bundle>/log.json
	bool systemd_cgroup;
	unsigned running; // commands under way
	goffset log_mark; // size of the log before the first of them: what is older is no error of theirs
} Runc;

void runc_init(Runc *runc, Loop *loop, Reaper *reaper, const char *bundle, const char *ns,
               const RuncOptions *options);
void runc_clear(Runc *runc);

/* A command under way. */
typedef struct RuncCall RuncCall;

/* error is NULL for exit status 0, else what go-runc says, class UNKNOWN: `runc did not terminate
 * successfully: exit status 1` with `: <output>` where the output was captured. Both are borrowed; output is
 * what was captured. */
typedef void (*RuncFn)(const GError *error, const char *output, void *data);

typedef struct {
	int in, out, err; // as command_start
} RuncStdio;
#define RUNC_CAPTURE ((RuncStdio){COMMAND_NULL, COMMAND_CAPTURE, COMMAND_CAPTURE})

/* args: the command and what follows it. The Runc outlives the call. fn runs later, never in here. what: the
 * container's id, for the in-flight table. */
RuncCall *runc_run(Runc *runc, const char *what, GPtrArray *args, RuncStdio stdio, RuncFn fn, void *data);
void runc_call_kill(RuncCall *call);
/* All commands of this name that run for what. */
void runc_kill_calls(const char *what, const char *verb);

/* How upstream's Init.runtimeError puts it: `<msg>: <last error in the log>`, or `<msg>: <error>` where the
 * log says nothing new. */
GError *runc_error(Runc *runc, const GError *error, const char *msg);
/* The runtime knows no such container: after a checkpoint, or when a delete is repeated. */
bool runc_error_is_gone(const GError *error);
/* Upstream's checkKillError. Returns NULL for NULL. */
GError *runc_kill_error(const GError *error);
/* The message of the last entry of level error after offset; NULL where there is none. */
char *runc_log_last_error(const char *path, goffset offset, GError **error);

/* What runs now, oldest first. */
typedef void (*RuncVisitor)(const char *command, const char *what, pid_t pid, int64_t age_ns, void *data);
void runc_visit(RuncVisitor visit, void *data);
