// SPDX-License-Identifier: Apache-2.0

/*
 * Writers of the local content store: bytes go to the ingest's data file and through the hash as they come; a
 * commit makes the file a blob. The order there is what makes "acknowledged" mean "durable": mode and times,
 * fsync of the file, rename, fsync of the directory.
 */

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "store/content-local-private.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Dirty pages are handed to the disk each so many bytes, so that the commit's fsync has little left to wait
 * for. */
#define WRITEBACK_STEP (8 * 1024 * 1024)
#define COPY_BUFFER (1024 * 1024)

typedef struct {
	ContentWriter base;
	LocalStore *store;
	char *ref, *path, *data;
	int fd; // -1: committed, or its commit failed
	Digester *digester;
	char *algorithm;
	char *digest; // after the commit
	int64_t offset, total, written_back;
	bool dirty; // written to since it was opened
	TimeNs started_at, updated_at;
} LocalWriter;

static LocalWriter *writer_of(ContentWriter *w)
{
	return (LocalWriter *)w;
}

/* ---- hashing what is in a file ---- */

static bool hash_range(int fd, const char *path, int64_t from, int64_t to, Digester *digester, GError **error)
{
	g_autofree char *buf = g_malloc(COPY_BUFFER);
	while (from < to) {
		size_t want = (size_t)MIN(to - from, (int64_t)COPY_BUFFER);
		ssize_t n = RETRY_EINTR(pread(fd, buf, want, from));
		if (n < 0)
			return error_set_errno(error, errno, "read %s", path);
		if (n == 0)
			return error_set(error, CTRD_ERR_UNKNOWN, "read %s: unexpected EOF", path);
		digester_update(digester, buf, (size_t)n);
		from += n;
	}
	return true;
}

/* ---- opening ---- */

static void writer_free(LocalWriter *w)
{
	if (w == NULL)
		return;
	fd_close(&w->fd);
	digester_free(w->digester);
	g_free(w->ref);
	g_free(w->path);
	g_free(w->data);
	g_free(w->algorithm);
	g_free(w->digest);
	g_free(w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LocalWriter, writer_free)

/* What is there of the ingest goes on. */
static bool resume(LocalWriter *w, int64_t total, GError **error)
{
	g_autoptr(ContentStatus) status = local_status(w->path, error);
	if (status == NULL)
		return error_prefix(error, "failed reading status of resume write");
	if (strcmp(status->ref, w->ref) != 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "ref key does not match: %s != %s", w->ref,
		                 status->ref);
	if (total > 0 && status->total > 0 && total != status->total)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "provided total differs from status: %" G_GINT64_FORMAT
		                 " != %" G_GINT64_FORMAT,
		                 total, status->total);
	autofd fd = RETRY_EINTR(open(w->data, O_RDWR | O_CLOEXEC));
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return error_set_errno(error, errno, "open %s", w->data);
	g_autoptr(Digester) digester = local_resume_take(w->store, w->ref, &st, w->algorithm);
	if (digester == NULL) {
		digester = digester_new(w->algorithm);
		if (!hash_range(fd, w->data, 0, st.st_size, digester, error))
			return false;
	}
	w->fd = fd_steal(&fd);
	w->digester = g_steal_pointer(&digester);
	w->offset = w->written_back = st.st_size;
	w->total = status->total;
	w->started_at = status->started_at;
	w->updated_at = status->updated_at;
	return true;
}

static bool write_small(LocalWriter *w, const char *name, const char *text, GError **error)
{
	g_autofree char *file = path_join(w->path, name);
	return file_write_atomic(file, text, strlen(text), 0644, false, error);
}

static bool start(LocalWriter *w, int64_t total, GError **error)
{
	w->started_at = w->updated_at = time_now();
	w->total = MAX(total, 0);
	if (!write_small(w, "ref", w->ref, error) ||
	    !local_write_time(w->path, "startedat", w->started_at, error) ||
	    !local_write_time(w->path, "updatedat", w->started_at, error))
		return false;
	if (total > 0) {
		g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, total);
		if (!write_small(w, "total", text, error))
			return false;
	}
	w->fd = RETRY_EINTR(open(w->data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
	if (w->fd < 0)
		return error_set_errno(error, errno, "failed to open data file: open %s", w->data);
	w->digester = digester_new(w->algorithm);
	return true;
}

static bool open_ingest(LocalWriter *w, int64_t total, GError **error)
{
	if (mkdir(w->path, 0755) != 0) {
		if (errno == ENOENT) {
			if (!dir_make_all(w->store->ingest_dir, 0755, error))
				return false;
			return open_ingest(w, total, error);
		}
		if (errno != EEXIST)
			return error_set_errno(error, errno, "mkdir %s", w->path);
		g_autoptr(GError) cause = NULL;
		if (resume(w, total, &cause))
			return true;
		log_info("failed to resume an ingest, it starts anew", "path", w->path, "error",
		         cause->message, NULL);
	}
	return start(w, total, error);
}

static bool exists_already(LocalStore *s, const char *digest)
{
	g_autofree char *path = local_blob_path(s, digest);
	struct stat st;
	return local_blob_stat(path, digest, &st);
}

/* ---- the interface ---- */

/* How much of data got into the file: all of it, or less and errno. */
static size_t write_some(LocalWriter *w, const char *data, size_t len)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = RETRY_EINTR(pwrite(w->fd, data + done, len - done, w->offset + (int64_t)done));
		if (n <= 0) {
			errno = n < 0 ? errno : EIO;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

static void wrote(LocalWriter *w, int64_t len)
{
	w->offset += len;
	w->updated_at = time_now();
	w->dirty = true;
	if (w->offset - w->written_back >= WRITEBACK_STEP) {
		sync_file_range(w->fd, w->written_back, w->offset - w->written_back, SYNC_FILE_RANGE_WRITE);
		w->written_back = w->offset;
	}
}

static bool is_closed(LocalWriter *w, const char *what, GError **error)
{
	return w->fd < 0 &&
	       !error_set_class(error, CTRD_ERR_FAILED_PRECONDITION, "cannot %s closed writer", what);
}

static bool local_write(ContentWriter *self, const void *data, size_t len, GError **error)
{
	LocalWriter *w = writer_of(self);
	if (is_closed(w, "write to", error))
		return false;
	size_t done = write_some(w, data, len);
	int errnum = errno;
	digester_update(w->digester, data, done);
	wrote(w, (int64_t)done);
	return done == len || error_set_errno(error, errnum, "write %s", w->data);
}

static int local_writer_fd(ContentWriter *self)
{
	return writer_of(self)->fd;
}

static bool local_advance(ContentWriter *self, int64_t len, Digester *digester, GError **error)
{
	LocalWriter *w = writer_of(self);
	g_autoptr(Digester) taken = digester;
	struct stat st;
	if (is_closed(w, "write to", error))
		return false;
	if (fstat(w->fd, &st) != 0)
		return error_set_errno(error, errno, "stat %s", w->data);
	if (len < 0 || len > st.st_size - w->offset)
		return error_set_class(error, CTRD_ERR_OUT_OF_RANGE,
		                       "ref %s: %" G_GINT64_FORMAT " bytes were not written", w->ref, len);
	if (taken != NULL) {
		digester_free(w->digester);
		w->digester = g_steal_pointer(&taken);
	} else if (!hash_range(w->fd, w->data, w->offset, w->offset + len, w->digester, error)) {
		return false;
	}
	wrote(w, len);
	return true;
}

static char *local_digest(ContentWriter *self)
{
	LocalWriter *w = writer_of(self);
	return w->digest != NULL ? g_strdup(w->digest) : digester_digest(w->digester);
}

static bool local_writer_status(ContentWriter *self, ContentStatus **ret, GError **error)
{
	LocalWriter *w = writer_of(self);
	ContentStatus *status = g_new0(ContentStatus, 1);
	status->ref = g_strdup(w->ref);
	status->offset = w->offset;
	status->total = w->total;
	status->started_at = w->started_at;
	status->updated_at = w->updated_at;
	*ret = status;
	return true;
}

static bool local_truncate(ContentWriter *self, int64_t size, GError **error)
{
	LocalWriter *w = writer_of(self);
	if (size != 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "Truncate: unsupported size");
	if (is_closed(w, "truncate", error))
		return false;
	if (RETRY_EINTR(ftruncate(w->fd, 0)) != 0)
		return error_set_errno(error, errno, "truncate %s", w->data);
	digester_free(w->digester);
	w->digester = digester_new(w->algorithm);
	w->offset = w->written_back = 0;
	w->dirty = true;
	return true;
}

/* ---- commit ---- */

/* The digest of what was written, in the expected one's algorithm: a writer that was opened without a
 * descriptor has counted in sha256. */
static bool final_digest(LocalWriter *w, int64_t size, const char *expected, GError **error)
{
	g_autofree char *algorithm = expected != NULL ? digest_algorithm(expected) : NULL;
	if (algorithm != NULL && strcmp(algorithm, w->algorithm) != 0) {
		g_autoptr(Digester) digester = digester_new(algorithm);
		if (digester == NULL)
			return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
			                       "unsupported digest algorithm");
		if (!hash_range(w->fd, w->data, 0, size, digester, error))
			return error_prefix(error, "failed to re-hash ingest data to %s", algorithm);
		digester_free(w->digester);
		w->digester = g_steal_pointer(&digester);
		g_free(w->algorithm);
		w->algorithm = g_steal_pointer(&algorithm);
	}
	w->digest = digester_digest(w->digester);
	if (expected != NULL && strcmp(expected, w->digest) != 0) {
		error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                "unexpected commit digest %s, expected %s", w->digest, expected);
		g_clear_pointer(&w->digest, g_free);
		return false;
	}
	return true;
}

/* Read-only, as the umask says, with the time of the commit; on disk before it gets its name. */
static bool finish_file(LocalWriter *w, const struct stat *st, GError **error)
{
	if (fchmod(w->fd, st->st_mode & 0444) != 0)
		return error_set_errno(error, errno, "chmod %s", w->data);
	TimeNs now = time_now(); // the kernel's own clock for this is some milliseconds behind
	struct timespec ts = {.tv_sec = now / NS_PER_SEC, .tv_nsec = now % NS_PER_SEC};
	if (futimens(w->fd, (struct timespec[]){ts, ts}) != 0)
		return error_set_errno(error, errno, "chtimes %s", w->data);
	if (RETRY_EINTR(fsync(w->fd)) == 0)
		return true;
	int errnum = errno;
	// The kernel tells of a failed write once and then calls the page clean: what is in the file is not
	// known any more, and a second fsync would say that all is well. So the ingest must not be resumed.
	tree_remove(w->path, NULL);
	return error_set_errno(error, errnum, "sync failed: fsync %s", w->data);
}

static bool make_parent(LocalWriter *w, const char *dir, GError **error)
{
	if (path_exists(dir))
		return true;
	g_autofree char *blobs = g_path_get_dirname(dir);
	return dir_make_all(dir, 0755, error) && dir_fsync(blobs, error) && dir_fsync(w->store->root, error);
}

static bool publish(LocalWriter *w, const struct stat *st, GError **error)
{
	g_autofree char *target = local_blob_path(w->store, w->digest);
	g_autofree char *dir = g_path_get_dirname(target);
	struct stat there;
	if (!make_parent(w, dir, error))
		return false;
	// a file of another size is a damaged one: ours replaces it
	if (local_blob_stat(target, w->digest, &there) && there.st_size == st->st_size) {
		tree_remove(w->path, NULL);
		return error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "content %s", w->digest);
	}
	if (!finish_file(w, st, error) || !FAILPOINT("content.commit.synced", error))
		return false;
	if (rename(w->data, target) != 0)
		return error_set_errno(error, errno, "rename %s %s", w->data, target);
	if (!dir_fsync(dir, error) || !FAILPOINT("content.commit.renamed", error))
		return false;
	g_autoptr(GError) cause = NULL;
	if (!tree_remove(w->path, &cause))
		log_warn("failed to remove ingest directory", "ref", w->ref, "path", w->path, "error",
		         cause->message, NULL);
	return true;
}

static bool commit_open(LocalWriter *w, int64_t size, const char *expected, GError **error)
{
	struct stat st;
	if (fstat(w->fd, &st) != 0)
		return error_set_errno(error, errno, "stat on ingest file failed: stat %s", w->data);
	if (size > 0 && size != st.st_size)
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                       "unexpected commit size %" G_GINT64_FORMAT
		                       ", expected %" G_GINT64_FORMAT,
		                       (int64_t)st.st_size, size);
	return final_digest(w, st.st_size, expected, error) && publish(w, &st, error);
}

static bool local_commit(ContentWriter *self, const Ctx *ctx, int64_t size, const char *expected,
                         GHashTable *labels, GError **error)
{
	LocalWriter *w = writer_of(self);
	if (is_closed(w, "commit on", error))
		return false;
	bool ok = commit_open(w, size, expected, error);
	fd_close(&w->fd);
	local_unlock_ref(w->store, w->ref);
	return ok;
}

/* ---- close ---- */

/* The hash so far, for the next writer of this ref. */
static void keep_hash(LocalWriter *w)
{
	struct stat st;
	if (fstat(w->fd, &st) != 0 || st.st_nlink == 0 || st.st_size != w->offset)
		return; // aborted meanwhile, or written to behind our back
	ResumeState *state = g_new0(ResumeState, 1);
	state->digester = g_steal_pointer(&w->digester);
	state->algorithm = g_strdup(w->algorithm);
	state->st = st;
	local_resume_put(w->store, w->ref, state);
}

static void local_close(ContentWriter *self)
{
	g_autoptr(LocalWriter) w = writer_of(self);
	if (w->fd < 0)
		return;
	if (w->dirty) {
		if (RETRY_EINTR(fdatasync(w->fd)) != 0)
			log_warn("failed to sync an ingest", "path", w->path, "error", g_strerror(errno),
			         NULL);
		local_write_time(w->path, "updatedat", w->updated_at, NULL); // no error: it may be aborted
	}
	keep_hash(w);
	fd_close(&w->fd);
	local_unlock_ref(w->store, w->ref);
}

ContentWriter *local_writer_new(LocalStore *s, const char *ref, const Descriptor *desc, GError **error)
{
	static const ContentWriterOps ops = {
	        .write = local_write,
	        .digest = local_digest,
	        .commit = local_commit,
	        .status = local_writer_status,
	        .truncate = local_truncate,
	        .close = local_close,
	        .fd = local_writer_fd,
	        .advance = local_advance,
	};
	const char *expected = desc->digest;
	if (!str_empty(expected) && exists_already(s, expected)) {
		error_set_class(error, CTRD_ERR_ALREADY_EXISTS, "content %s", expected);
		return NULL;
	}
	g_autoptr(LocalWriter) w = g_new0(LocalWriter, 1);
	w->base.ops = &ops;
	w->store = s;
	w->fd = -1;
	w->ref = g_strdup(ref);
	w->path = local_ingest_path(s, ref);
	w->data = path_join(w->path, "data");
	w->algorithm = str_empty(expected) ? g_strdup("sha256") : digest_algorithm(expected);
	if (!open_ingest(w, desc->size, error))
		return NULL;
	return &g_steal_pointer(&w)->base;
}
