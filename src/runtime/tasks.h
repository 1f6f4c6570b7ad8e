// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tasks: the shims of this daemon by (namespace, id); creating, deleting, recovering them (upstream
 * core/runtime/v2/{shim_manager, shim_load,task_manager}.go).
 *
 * No lock is held over a call to a shim. A shim that is mute costs its own callers only: every call of ours
 * has a deadline, and the callers' own calls (shim-client.h) can be canceled. Functions block unless said
 * otherwise; thread-safe.
 */

#include "loop/pool.h"
#include "runtime/exchange.h"
#include "runtime/shim-client.h"
#include "store/meta.h"
#include "store/mounts.h"

typedef struct {
	char *root, *state;                 // io.containerd.runtime.v2.task below root and state
	char *grpc_address, *ttrpc_address; // what shims are told
	char *socket_dir;                   // NULL: the shims' default
	char **env;                         // NULL: none
	MountManager *mounts;               // for rootfs mounts that need it; NULL: none
	int64_t load_timeout_ns;            // io.containerd.timeout.shim.load, 5 s
	int64_t cleanup_timeout_ns;         // shim.cleanup, 5 s
	int64_t shutdown_timeout_ns;        // shim.shutdown, 3 s
} TasksConfig;

/* How the exit of a task whose shim is gone is told: /tasks/exit (unless the shim has told it, exit_told),
 * then /tasks/delete. The services encode it. */
typedef void (*TaskGoneFn)(const char *ns, const char *id, const TaskExit *exit, bool exit_told, void *data);

typedef struct Tasks Tasks;
/* The config is copied. db finds the runtime of old bundles. gone is called on a worker. */
Tasks *tasks_new(Loop *loop, Pool *pool, MetaDb *db, const TasksConfig *config, TaskGoneFn gone, void *data,
                 GError **error);
/* Finds the shims of an earlier daemon: all in parallel, each with its deadline. Returns at once; tasks_get
 * waits for the one it asks for, tasks_list for at most a second for all. What cannot be reached is cleaned
 * up and told as an exit. */
void tasks_load(Tasks *t);
/* Other timeouts from now on, of those in the config; 0: upstream's. */
void tasks_set_timeouts(Tasks *t, int64_t load_ns, int64_t cleanup_ns, int64_t shutdown_ns);
/* Closes all connections; the shims go on. */
void tasks_free(Tasks *t);

typedef struct {
	const char *runtime;        // name or absolute path
	const Any *runtime_options; // of the container
	const Any *task_options;    // of the request, first choice
	const Any *spec;
	GPtrArray *rootfs; // of Mount*
	const char *stdin, *stdout, *stderr;
	bool terminal;
	const char *checkpoint; // directory or NULL
	/* Fills a directory of the bundle with what CRIU wrote; NULL: none. Instead of checkpoint. */
	bool (*restore)(const char *dir, void *data, GError **error);
	void *restore_data;
	const char *sandbox_id; // NULL or "": none
	/* Where the sandbox serves the task API, as its controller told: ttrpc+unix:///path. NULL or "": our
	 * shim controller knows. */
	const char *task_api_address;
	uint32_t task_api_version;
} TaskCreate;

/* ALREADY_EXISTS `task x: already exists`. After a failure nothing is left: no shim, bundle, mount or name.
 */
bool tasks_create(Tasks *t, const Ctx *ctx, const char *id, const TaskCreate *create, uint32_t *ret_pid,
                  GError **error);
/* NOT_FOUND `task x not found`, the text of the service. The reference is the caller's. */
Shim *tasks_get(Tasks *t, const Ctx *ctx, const char *id, GError **error);
GPtrArray *tasks_list(Tasks *t, const Ctx *ctx); // of Shim*, of the namespace, by id; owns references
GPtrArray *
tasks_now(Tasks *t); // of Shim*: all namespaces, what there is at this moment; never waits; owns references
/* The task must have stopped: the shim says so. Can be repeated until it has succeeded. */
bool tasks_delete(Tasks *t, const Ctx *ctx, const char *id, TaskExit *ret, GError **error);
/* Before a SIGKILL: a shim that does not answer within the load timeout is killed and cleaned up, and its
 * exit is told; then this is true and the task is gone. tasks_delete does the same. */
bool tasks_end_if_mute(Tasks *t, const Ctx *ctx, const char *id);

/* A shim has told the exit of its task: it is told once only, whatever becomes of the shim, and of the daemon
 * (a file `exit` in the bundle). Never blocks; may be called under the exchange's lock. */
void tasks_note_exit(Tasks *t, const char *ns, const char *id, const TaskExit *exit);
