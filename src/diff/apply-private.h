// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What apply.c (entries) and apply-path.c (where they go) share. */

#include "diff/apply.h"

#include <sys/stat.h>
#include <sys/types.h>

#define LAYER_DIR_CACHE 32
#define LAYER_DIR_NAMES_MAX (256u << 20) // bytes of directory names kept for their times

/* An open directory (O_PATH) by the name entries call it. */
typedef struct {
	char *name; // without slashes at its ends; NULL: free
	size_t len;
	int fd;
	ino_t ino;
	uint64_t used;
} DirSlot;

/* Times to be set when everything is in. */
typedef struct {
	char *name;
	struct timespec times[2];
} DirTimes;

typedef struct {
	int fd;
	ino_t ino;
} LayerDir;

/* One entry on its way to the disk. */
typedef struct {
	const TarHeader *h;
	const char *name; // cleaned
	const char *base; // its last component
	LayerDir dir;     // where it goes
	mode_t mode;
	struct timespec times[2]; // access, modification
} LayerEntry;

typedef struct LayerFiles LayerFiles; // apply-files.h

struct LayerApply {
	char *root;
	int rootfd;
	LayerApplyOptions o;
	int *parents; // fds
	unsigned n_parents;
	bool userns;
	bool failed, ended;

	TarParser *parser;
	LayerApplyResult result;
	int64_t written;

	DirSlot dirs[LAYER_DIR_CACHE];
	DirSlot *last;
	uint64_t clock;
	ino_t root_ino;

	// what this layer made, as "<inode of directory>/<name>", where an opaque marker has to know; else
	// NULL
	GHashTable *unpacked;

	GArray *times; // DirTimes
	size_t times_bytes;

	// the present entry; what of it is content goes to file_fd where writing
	LayerEntry entry;
	char *entry_name;
	int file_fd;
	bool writing;

	unsigned small_files;
	bool alone;        // no thread for small files
	LayerFiles *files; // NULL: not yet, or alone
};

/* Content and attributes of a new file; error texts name e->name. finish takes the fd. Thread-safe where the
 * entry has no xattrs. */
bool layer_file_write(LayerApply *a, const LayerEntry *e, int fd, const void *data, size_t len,
                      GError **error);
bool layer_file_finish(LayerApply *a, const LayerEntry *e, int fd, GError **error);

/* The directory that entries of this name's parent go to; made where it is missing (mkparent). The fd is the
 * cache's. */
bool layer_parent(LayerApply *a, const char *parent, size_t len, LayerDir *ret, GError **error);
/* The same for the target of a hard link: nothing is made. *ret_errno: why it cannot be opened. */
bool layer_parent_lookup(LayerApply *a, const char *parent, size_t len, LayerDir *ret, int *ret_errno,
                         GError **error);
/* For error texts: the path upstream would show, with links replaced. errno stays. */
char *layer_full_path(LayerApply *a, const char *name);
/* A directory was made or found by an entry: the next ones are likely to be in it. Takes the fd. */
void layer_dir_remember(LayerApply *a, const char *name, int fd, ino_t ino);
/* A directory or a link is gone: names may mean something else now. */
void layer_dirs_forget(LayerApply *a);
bool layer_times_add(LayerApply *a, const char *name, const struct timespec times[2], GError **error);
bool layer_times_apply(LayerApply *a, GError **error);

void layer_unpacked_add(LayerApply *a, ino_t dir, const char *name);
bool layer_unpacked_has(LayerApply *a, ino_t dir, const char *name);

/* openat2 with RESOLVE_IN_ROOT; -1 and errno */
int layer_open_in_root(int rootfd, const char *path, int flags);
/* "/proc/self/fd/N" or "/proc/self/fd/N/name": the way to what has no fd of its own, or only an O_PATH one */
char *layer_fd_path(int fd, const char *name);
