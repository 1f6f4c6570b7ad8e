// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The table of shims, between tasks.c, which runs tasks in them, and sandbox-shim-client.c, which runs
 * sandboxes: upstream's ShimManager (core/runtime/v2/shim_manager.go). One name in a namespace is one shim,
 * whichever it serves.
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
	Shim *shim;       // set once, before READY or while CREATING
	EntryState state;
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
	int64_t load_timeout_ns, cleanup_timeout_ns, shutdown_timeout_ns;
	TaskGoneFn gone;
	void *gone_data;

	Lock lock;              // what follows; never held over I/O
	Cond changed;           // an entry left LOADING
	GHashTable *entries;    // "ns/id" -> Entry
	unsigned n_connections; // whose end has not been handled yet
	bool closing;
};

Entry *entry_ref(Entry *e);
void entry_unref(Entry *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Entry, entry_unref)

/* Takes the name; NULL where it is taken. state_dir: what the bundle lies in. */
Entry *entry_reserve(Tasks *t, const char *ns, const char *id, const char *state_dir, EntryState state);
/* Gives the name back. True for the one who did it, who then tells the world where that is due. */
bool entry_drop(Entry *e);
Bundle *entry_bundle(const Entry *e);
/* Connects the entry to its shim. */
bool entry_connect(Entry *e, const ShimAddress *address, GError **error);
void entry_ready(Entry *e);
/* The READY entry of a name, after waiting for one that is loading; NULL: none. */
Entry *entry_find(Tasks *t, const Ctx *ctx, const char *id);

/* While a sandbox is shut down the exits of its tasks are told by the shim; false: it could not be shut down.
 */
void tasks_sandbox_ends(Tasks *t, const char *ns, const char *sandbox_id, bool ends);
ShimBinaryConfig tasks_binary_config(const Tasks *t);
/* Finds the shims of an earlier daemon whose bundles lie in state; see tasks_load. */
void tasks_load_dir(Tasks *t, const char *root, const char *state, bool sandboxes);
