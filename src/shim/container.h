// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Containers and their processes: the life of a task, free of any RPC. Mirrors upstream's runc/container.go,
 * process/init.go, process/exec.go and the exit handling of task/service.go.
 *
 * Every operation is a chain of short steps on the loop and ends with one call of its done function, which
 * may run before the operation returns. Operations on one process run one after another in order of arrival,
 * as under upstream's mutex, except kill and pids, which never wait: a runtime that hangs holds up nobody
 * else.
 *
 * Order of events, whatever comes when: create, start, exit, delete; exec-added, exec-started, exit; the exit
 * of a container's init is the last of that container.
 *
 * Loop's thread only. Processes live as long as their container is in the table or an operation holds it.
 */

#include "cgroup/cgroup.h"
#include "shim/options.h"
#include "shim/publisher.h"
#include "shim/reaper.h"
#include "shim/runc.h"
#include "shim/state.h"
#include "shim/stdio.h"
#include "types/mount.pb-c.h"
#include <glib.h>

/* The process as a whole. */
typedef struct {
	Loop *loop;
	Reaper *reaper;
	Publisher *publisher;
	char *ns;
	GHashTable *containers; // id -> Container*, those being created too
} Shim;

typedef struct Container Container;
typedef struct Process Process;
typedef struct Op Op;

/* takes the error; NULL: done */
typedef void (*OpFn)(GError *error, void *data);
/* Once, when the process has ended (or can never start), and its container is still held. */
typedef void (*WaitFn)(Process *process, void *data);

struct Process {
	Container *container;
	char *id; // the exec's id; of an init the container's
	bool is_init;
	ProcessState state;
	bool pausing;
	char *in, *out, *err;
	bool terminal;
	Stdio *io; // NULL before start and after delete
	pid_t pid;
	int code;
	TimeNs exited_at; // 0: not ended
	GQueue waiters;
	bool waiting_over; // waiters are answered at once
	char *spec;        // an exec's process.json until it is started

	GQueue ops;    // waiting for their turn, the head runs
	bool detached; // no longer in the container's table
	bool starting;
	bool ended_early; // the exit came while starting: told after the start
	int early_code;
	TimeNs early_at;
};

struct Container {
	unsigned refs;
	Shim *shim;
	char *id, *bundle, *rootfs; // rootfs NULL: nothing mounted by us
	bool creating;
	Op *create;
	RuncOptions options;
	Runc runc;
	Process *init;
	GHashTable *execs;      // id -> Process*
	unsigned running_execs; // started or starting
	bool init_ended;        // its exit is here, and told once no exec runs any more
	bool killed_all;
	LoopTimer *stuck_timer;
	int init_code;
	Cgroup *cgroup; // NULL where it could not be loaded
	OomWatch *oom;
	char *checkpoint, *parent_checkpoint;
};

typedef struct {
	const char *id, *bundle;
	size_t n_rootfs;
	Containerd__Types__Mount **rootfs;
	bool terminal;
	const char *in, *out, *err;
	const char *checkpoint, *parent_checkpoint;
	const Google__Protobuf__Any *options;
	bool options_of_bundle; // the bundle's options.json instead
} CreateSpec;

typedef struct {
	const char *exec_id;
	bool terminal;
	const char *in, *out, *err;
	const Google__Protobuf__Any *spec;
} ExecSpec;

void shim_init(Shim *shim, Loop *loop, const char *ns, Reaper *reaper, Publisher *publisher);

/* NOT_FOUND `container not created: not found`; also while it is being created. */
Container *container_find(Shim *shim, const char *id, GError **error);
/* "" is the init. NOT_FOUND `process does not exist x: not found`. */
Process *container_process(Container *container, const char *exec_id, GError **error);
Container *container_ref(Container *container);
void container_unref(Container *container);

/* Operations return NULL where done has run already; else a handle for op_cancel until it runs. */
Op *container_create(Shim *shim, const CreateSpec *spec, OpFn done, void *data);
/* Kill for a container that is still being created, whose runtime may hang: ends the creation. False: none
 * such. */
bool container_create_abort(Shim *shim, const char *id);
/* At once; the event is sent. */
bool container_exec(Container *container, const ExecSpec *spec, GError **error);
Op *process_start(Process *process, OpFn done, void *data);
Op *process_delete(Process *process, OpFn done, void *data);
Op *process_kill(Process *process, uint32_t signal, bool all, OpFn done, void *data);
Op *container_pause(Container *container, OpFn done, void *data);
Op *container_resume(Container *container, OpFn done, void *data);
Op *container_update(Container *container, const Google__Protobuf__Any *resources, OpFn done, void *data);
Op *container_checkpoint(Container *container, const char *path, const Google__Protobuf__Any *options,
                         OpFn done, void *data);
/* The pids that the runtime names; valid within done: op_pids. */
Op *container_pids(Container *container, OpFn done, void *data);
const GArray *op_pids(const Op *op); // of uint32_t
bool process_resize(Process *process, uint32_t width, uint32_t height, GError **error);
void process_close_stdin(Process *process);
/* "created", "running" ...: an exec of a paused container is paused too. */
const char *process_status(const Process *process);

/* Returns a handle for process_wait_cancel; NULL where fn has run already. */
void *process_wait(Process *process, WaitFn fn, void *data);
void process_wait_cancel(Process *process, void *handle);

/* The caller has gone or its deadline passed: creating and starting an exec are undone, a command of the
 * runtime that changes nothing half way (kill, ps) is ended, everything else goes on. */
void op_cancel(Op *op);

/* One line for each thing under way. */
typedef void (*OpVisitor)(const char *line, void *data);
void shim_visit(Shim *shim, OpVisitor visit, void *data);
