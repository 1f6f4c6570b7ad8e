// SPDX-License-Identifier: Apache-2.0

#include "diff/apply-files.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "loop/lock.h"
#include "loop/thread.h"

#include <string.h>
#include <unistd.h>

#define WAKE_AT 16 // files that are handed over together: a wake-up costs as much as a file

typedef struct {
	int fd;
	mode_t mode;
	int64_t uid, gid;
	struct timespec times[2];
	size_t name_len, len;
	char bytes[]; // name with its NUL, content
} File;

struct LayerFiles {
	LayerApply *apply;
	pthread_t thread;

	Lock lock;
	Cond work, progress;
	File *ring[LAYER_FILES_QUEUED];
	unsigned put, taken, done;
	size_t bytes; // of what is not done
	bool end, waiting;
	GError *error; // the first one
};

static void file_free(File *f)
{
	if (f->fd >= 0)
		close(f->fd);
	g_free(f);
}

static bool fill(LayerFiles *f, File *file, GError **error)
{
	TarHeader h = {.type = TAR_TYPE_REG, .uid = file->uid, .gid = file->gid};
	LayerEntry e = {
	        .h = &h, .name = file->bytes, .mode = file->mode, .times = {file->times[0], file->times[1]}};
	return layer_file_write(f->apply, &e, file->fd, file->bytes + file->name_len + 1, file->len, error) &&
	       layer_file_finish(f->apply, &e, fd_steal(&file->fd), error);
}

/* The next file; NULL: the end. */
static File *take(LayerFiles *f)
{
	LOCK_SCOPE(&f->lock);
	f->waiting = f->taken == f->put;
	while (f->taken == f->put && !f->end)
		cond_wait(&f->work, &f->lock);
	f->waiting = false;
	return f->taken == f->put ? NULL : f->ring[f->taken++ % LAYER_FILES_QUEUED];
}

static bool gives_up(LayerFiles *f)
{
	LOCK_SCOPE(&f->lock);
	return f->end || f->error != NULL;
}

static void done(LayerFiles *f, size_t bytes, GError *error)
{
	LOCK_SCOPE(&f->lock);
	f->done++;
	f->bytes -= bytes;
	if (f->error == NULL)
		f->error = error;
	else
		g_clear_error(&error);
	cond_signal(&f->progress);
}

static void *files_thread(void *data)
{
	LayerFiles *f = data;
	File *file;
	while ((file = take(f)) != NULL) {
		GError *error = NULL;
		if (!gives_up(f))
			fill(f, file, &error);
		size_t bytes = file->len;
		file_free(file);
		done(f, bytes, error);
	}
	return NULL;
}

LayerFiles *layer_files_new(LayerApply *a)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return NULL;
	LayerFiles *f = g_new0(LayerFiles, 1);
	f->apply = a;
	lock_init(&f->lock, "layer-files", LOCK_RANK_LEAF);
	cond_init(&f->work);
	cond_init(&f->progress);
	if (thread_start(&f->thread, "layer-files", 256 * 1024, files_thread, f) == 0)
		return f;
	cond_destroy(&f->work);
	cond_destroy(&f->progress);
	lock_destroy(&f->lock);
	g_free(f);
	return NULL;
}

static File *file_new(const LayerEntry *e, int fd, const void *data, size_t len)
{
	size_t name_len = strlen(e->name);
	File *file = g_malloc(sizeof *file + name_len + 1 + len);
	*file = (File){.fd = fd,
	               .mode = e->mode,
	               .uid = e->h->uid,
	               .gid = e->h->gid,
	               .times = {e->times[0], e->times[1]},
	               .name_len = name_len,
	               .len = len};
	memcpy(file->bytes, e->name, name_len + 1);
	if (len > 0)
		memcpy(file->bytes + name_len + 1, data, len);
	return file;
}

/* Wakes the thread where it sleeps. */
static void wake_locked(LayerFiles *f)
{
	if (f->waiting && f->put != f->taken) {
		f->waiting = false;
		cond_signal(&f->work);
	}
}

static bool report_locked(LayerFiles *f, GError **error)
{
	if (f->error != NULL)
		g_propagate_error(error, g_error_copy(f->error));
	return f->error == NULL;
}

bool layer_files_put(LayerFiles *f, const LayerEntry *e, int fd, const void *data, size_t len, GError **error)
{
	File *file = file_new(e, fd, data, len);
	LOCK_SCOPE(&f->lock);
	while (f->put - f->done == LAYER_FILES_QUEUED || f->bytes > LAYER_FILES_BYTES) {
		wake_locked(f);
		cond_wait(&f->progress, &f->lock);
	}
	f->ring[f->put++ % LAYER_FILES_QUEUED] = file;
	f->bytes += len;
	if (f->put - f->taken >= WAKE_AT)
		wake_locked(f);
	return report_locked(f, error);
}

void layer_files_kick(LayerFiles *f)
{
	LOCK_SCOPE(&f->lock);
	wake_locked(f);
}

bool layer_files_drain(LayerFiles *f, GError **error)
{
	LOCK_SCOPE(&f->lock);
	while (f->done != f->put) {
		wake_locked(f);
		cond_wait(&f->progress, &f->lock);
	}
	return report_locked(f, error);
}

void layer_files_free(LayerFiles *f)
{
	if (f == NULL)
		return;
	{
		LOCK_SCOPE(&f->lock);
		f->end = true;
		cond_signal(&f->work);
	}
	pthread_join(f->thread, NULL);
	g_clear_error(&f->error);
	cond_destroy(&f->work);
	cond_destroy(&f->progress);
	lock_destroy(&f->lock);
	g_free(f);
}
