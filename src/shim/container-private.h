// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Between container.c (objects, exits), create.c, exec.c (starting) and ops.c (everything else). */

#include "shim/container.h"

/* How long Delete waits for output that is still on its way (upstream). */
#define DRAIN_TIMEOUT (10 * NS_PER_SEC)
/* Commands that clean up after a failure must not hang in turn. */
#define CLEANUP_TIMEOUT (10 * NS_PER_SEC)

struct Op {
	Process *process;
	Container *container; // held
	ProcessAct act;
	const char *stage; // static, for the in-flight table
	int64_t began;
	void (*run)(Op *op); // its turn has come
	OpFn done;
	void *data;
	bool queued;   // one of process->ops
	bool canceled; // the chain ends at its next step
	RuncCall *call;
	RuncFn runc_fn;
	bool killable; // the call may be killed when the operation is canceled
	bool holding;  // reaper_hold is on

	// operands
	GPtrArray *args;
	GBytes *input;
	uint32_t signal;
	bool all;
	GArray *pids;
	char *path;
	GPtrArray *mounts;
	GError *error; // the first failure, while cleaning up
	LoopTimer *timer;
	void *wait_handle;
	bool temporary_work;
	bool runtime_ran;
};

Op *op_new(Process *process, ProcessAct act, const char *stage, void (*run)(Op *), OpFn done, void *data);
/* In turn on its process, or (queued false) at once. Returns the op unless it has ended. */
Op *op_submit(Op *op, bool queued);
/* Ends it: done, the next one's turn. Takes the error. */
void op_finish(Op *op, GError *error);
/* A command line is built in op->args; the strings are copied. */
void op_arg(Op *op, const char *arg);
void op_args(Op *op, ...) G_GNUC_NULL_TERMINATED;
/* Runs the runtime with op->args (which are used up); fn runs later, never in here. */
void op_run_runc(Op *op, RuncStdio stdio, RuncFn fn);
void op_hold(Op *op);
void op_release(Op *op);

Process *process_new(Container *container, const char *id, bool is_init, const char *in, const char *out,
                     const char *err, bool terminal);
Stdio *process_stdio(Process *process);
GHashTable *container_execs_new(void);
/* What the pid file says. */
bool pid_file_read(const char *path, pid_t *ret, GError **error);
/* The process is there: its exit may come from now on, and what came already is told. After the start event.
 */
void process_adopt(Process *process);
/* Tells an exit that came while starting. */
void process_started(Process *process);
/* Waiters are answered; the process' state is left alone. */
void process_answer_waiters(Process *process);
void container_watch_oom(Container *container);
void container_load_cgroup(Container *container);
/* Takes an exec out of its container; it is freed with the operation that does so, or the last that waits
 * behind it. */
void process_detach(Process *process);
/* An exec ended, or failed to start. */
void container_exec_gone(Container *container);

void shim_publish_create(const Container *container, const CreateSpec *spec);
