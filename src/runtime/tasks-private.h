// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The table of shims (tasks-table.c), between tasks.c, which runs tasks in them, and sandbox-shim-client.c,
 * which runs sandboxes: upstream's ShimManager (core/runtime/v2/shim_manager.go). One name in a namespace is
 * one shim, whichever it serves.
 */

#include "loop/lock.h"
#include "runtime/shim-client-binary.h"
#include "runtime/task-mounts.h"
#include "runtime/tasks.h"

typedef enum {
	ENTRY_LOADING,  // a shim of an earlier daemon that has not answered yet
	ENTRY_CREATING, // the name is taken, the shim is on its way
	ENTRY_READY,
	ENTRY_GONE, // taken out of the table; somebody still holds the structure
} EntryState;

/* One (namespace, id). The table holds one reference, whoever works on it another. */
typedef struct {
	gatomicrefcount refs;
	Tasks *tasks;
	char *ns, *id;
	char *binary;     // NULL where it is not known
	char *state_dir;  // what its bundle lies in
	bool is_sandbox;  // serves a sandbox itself; its end is the controller's affair
	char *sandbox_id; // a task in this sandbox's shim, which goes on without it; NULL: it has its own
	Shim *shim;       // set before READY or while CREATING; replaced by a reconnect
	GPtrArray
	        *retired; // of Shim*: what was replaced lives as long as this, for those who hold it unlocked
	EntryState state;
	bool exit_told; // by the shim, and it was this:
	TaskExit told;
	bool shim_dead;    // its connection ended before it was READY
	bool sandbox_ends; // its sandbox is being shut down, whose shim tells the exit
} Entry;

struct Tasks {
	Loop *loop;
	Pool *pool;
	MetaDb *db;
	TaskMounts *mounts;
	char *root, *state, *grpc_address, *ttrpc_address, *socket_dir;
	char **env;
	_Atomic int64_t load_timeout_ns, cleanup_timeout_ns, shutdown_timeout_ns;
	TaskGoneFn gone;
	void *gone_data;

	Lock lock;              // what follows; never held over I/O
	Cond changed;           // an entry left LOADING
	GHashTable *entries;    // "ns/id" -> Entry
	unsigned n_connections; // whose end has not been handled yet
	unsigned n_jobs;        // of ours on workers
	bool closing;
};

Entry *entry_ref(Entry *e);
void entry_unref(Entry *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Entry, entry_unref)

/* ---- tasks-table.c ---- */

/* Runs on a worker; tasks_free waits for it. False: there is none. */
bool tasks_submit(Tasks *t, PoolFn fn, void *data);
void tasks_job_done(Tasks *t);
bool tasks_is_closing(Tasks *t);

/* The key of the table; owned by the caller. */
char *entry_key(const char *ns, const char *id);
/* Takes the name; NULL where it is taken. state_dir: what the bundle lies in. */
Entry *entry_reserve(Tasks *t, const char *ns, const char *id, const char *state_dir, EntryState state);
/* Gives the name back. True for the one who did it, who then tells the world where that is due. */
bool entry_drop(Entry *e);
/* The same in two steps: nobody finds the entry any more, but its name is taken until entry_remove. False:
 * somebody else did. */
bool entry_claim(Entry *e);
void entry_remove(Entry *e);
Bundle *entry_bundle(const Entry *e);
/* Connects the entry to its shim. */
bool entry_connect(Entry *e, const ShimAddress *address, GError **error);
void entry_ready(Entry *e);
typedef enum { SHIM_ANSWERS, SHIM_MUTE, SHIM_CLOSED } ShimHealth;
/* Whether the shim says anything at all within its deadline, be it that it knows no such method. */
ShimHealth entry_health(Entry *e);
/* The READY entry of a name, after waiting for one that is loading; NULL: none. */
Entry *entry_find(Tasks *t, const Ctx *ctx, const char *id);

/* While a sandbox is shut down the exits of its tasks are told by the shim; false: it could not be shut down.
 */
void tasks_sandbox_ends(Tasks *t, const char *ns, const char *sandbox_id, bool ends);

/* ---- tasks.c ---- */

/* Shutdown (but of a sandbox's shim, which has its controller), close, delete the bundle. Nothing here can
 * fail the caller: what is left is in the log and found at the next start. */
void entry_end(Entry *e, const Ctx *ctx);
ShimBinaryConfig tasks_binary_config(const Tasks *t);

/* ---- tasks-load.c ---- */

/* Finds the shims of an earlier daemon whose bundles lie in state; see tasks_load. */
void tasks_load_dir(Tasks *t, const char *root, const char *state, bool sandboxes);

/* ---- tasks-cleanup.c: what is left of shims that are gone or cannot be talked to. These block. ---- */

/* Which shim made the bundle: what was saved there, or the runtime of the container; owned by the caller. */
char *entry_saved_binary(const Entry *e, const Bundle *bundle, GError **error);

/* Ends the shim's process where it is still there (mute, or half dead), runs the binary's `delete` and
 * deletes the bundle; tries again what fails. False: the bundle stays, for the next create and the next
 * daemon, and the log says why. e->binary may be NULL: then only our own files can go. */
bool entry_cleanup(Entry *e, const Bundle *bundle, TaskExit *ret);
/* The same for an entry of the table, which goes, and its exit is told: once, by whoever takes it out, for
 * whom this is true. ret may be NULL. */
bool entry_cleanup_dead(Entry *e, TaskExit *ret);
/* A bundle that is there without an entry, before the name is used again. */
void entry_cleanup_leftover(Entry *e);
