// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Between content-local.c (the store) and content-local-writer.c (its writers). */

#include "loop/lock.h"
#include "store/content.h"
#include <sys/stat.h>

typedef struct {
	ContentStore base;
	char *root, *ingest_dir;
	Lock lock;
	GHashTable *locks;   // ref -> TimeNs* since when a writer has it
	GHashTable *resume;  // ref -> ResumeState*: hashes of writers that were closed
	GQueue resume_order; // of the keys of `resume`, oldest first
} LocalStore;

/* The running hash of a data file, good for as long as the file is the same. */
typedef struct {
	Digester *digester;
	char *algorithm;
	struct stat st;
} ResumeState;
void resume_state_free(ResumeState *state);
/* Takes the state. */
void local_resume_put(LocalStore *s, const char *ref, ResumeState *state);
/* NULL: none, or the file is another by now. */
Digester *local_resume_take(LocalStore *s, const char *ref, const struct stat *st, const char *algorithm);

bool local_lock_ref(LocalStore *s, const char *ref, GError **error);
void local_unlock_ref(LocalStore *s, const char *ref);

char *local_blob_path(LocalStore *s, const char *digest);
/* The blob's file; false and errno, where it is not there or is what a crash left of it. */
bool local_blob_stat(const char *path, const char *digest, struct stat *ret);
char *local_ingest_path(LocalStore *s, const char *ref);
/* Of an ingest directory. NOT_FOUND where it is none. */
ContentStatus *local_status(const char *path, GError **error);
bool local_write_time(const char *path, const char *name, TimeNs t, GError **error);

ContentWriter *local_writer_new(LocalStore *s, const char *ref, const Descriptor *desc, GError **error);
