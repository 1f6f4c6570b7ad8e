// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What every snapshotter must do: upstream's core/snapshots/testsuite, case by case under its names, on real
 * mounts. A test program gives it a way to open the snapshotter and runs test_private_ns() first.
 */

#include "loop/lock.h"
#include "store/snapshots.h"

typedef struct {
	const char *name; // of the snapshotter, and in the tests' paths
	/* A snapshotter with its data below root. Called again on the same root and database after
	 * snapshotter_free. */
	Snapshotter *(*open)(MetaDb *db, const char *root, GError **error);
	/* Instead of snapshotter_free; may be NULL. */
	void (*close)(Snapshotter *s);
	bool no_rename_dir; // overlayfs: a directory of a lower layer cannot be renamed
} SnapshotSuite;

void snapshot_suite_add(const SnapshotSuite *suite);

/* What a case works with; for further cases of a test program. */
typedef struct {
	const SnapshotSuite *suite;
	char *dir, *root, *work;
	MetaDb *db;
	Snapshotter *sn;
	Ctx ctx;
	GHashTable *labels; // containerd.io/gc.root
	GPtrArray *events;  // of char*: "prepare ns key parent snapshotter", ...
	Lock events_lock;
} SuiteEnv;
SuiteEnv *suite_env_new(const SnapshotSuite *suite);
void suite_env_free(SuiteEnv *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SuiteEnv, suite_env_free)
void suite_env_reopen(SuiteEnv *e);
void suite_add_case(const SnapshotSuite *suite, const char *name, void (*fn)(SuiteEnv *e));

/* Shorthands that fail the test on an error. parent NULL: none. */
GPtrArray *suite_prepare(SuiteEnv *e, const char *key, const char *parent);
GPtrArray *suite_view(SuiteEnv *e, const char *key, const char *parent);
void suite_commit(SuiteEnv *e, const char *name, const char *key);
void suite_remove(SuiteEnv *e, const char *key);
SnapshotInfo *suite_stat(SuiteEnv *e, const char *key);

/* A change of a directory tree. */
typedef enum { STEP_END, STEP_FILE, STEP_DIR, STEP_RM, STEP_LINK, STEP_CHOWN, STEP_RENAME } StepKind;
typedef struct {
	StepKind kind;
	const char *path, *arg; // content, or the new name
	unsigned mode, uid, gid;
} Step;
#define S_FILE(p, content, m)                                                                                \
	{                                                                                                    \
		STEP_FILE, p, content, m, 0, 0                                                               \
	}
#define S_DIR(p, m)                                                                                          \
	{                                                                                                    \
		STEP_DIR, p, NULL, m, 0, 0                                                                   \
	}
#define S_RM(p)                                                                                              \
	{                                                                                                    \
		STEP_RM, p, NULL, 0, 0, 0                                                                    \
	}
#define S_LINK(old, new)                                                                                     \
	{                                                                                                    \
		STEP_LINK, old, new, 0, 0, 0                                                                 \
	}
#define S_CHOWN(p, u, g)                                                                                     \
	{                                                                                                    \
		STEP_CHOWN, p, NULL, 0, u, g                                                                 \
	}
#define S_RENAME(old, new)                                                                                   \
	{                                                                                                    \
		STEP_RENAME, old, new, 0, 0, 0                                                               \
	}
#define S_END                                                                                                \
	{                                                                                                    \
		STEP_END, NULL, NULL, 0, 0, 0                                                                \
	}
void suite_apply(const char *root, const Step *steps);
/* Names, kinds, modes, owners, contents, links and hard links of all below root, as text. */
char *suite_describe(const char *root);
void suite_assert_same(const char *want_root, const char *got_root);

typedef void (*SuiteMountFn)(const char *root, void *data);
/* Mounts, calls, unmounts. */
void suite_with_mounts(SuiteEnv *e, GPtrArray *mounts, SuiteMountFn fn, void *data);
/* prepare, apply, commit as name. */
void suite_layer(SuiteEnv *e, const char *name, const char *parent, const Step *steps);
