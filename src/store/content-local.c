// SPDX-License-Identifier: Apache-2.0

/*
 * Content as files (upstream plugins/content/local).
 *
 *   blobs/<algorithm>/<hex>            a blob, mode 0444; made by a rename after an fsync, so whole or absent
 *   ingest/<sha256 of the ref>/        an ingest: data (what came so far), ref, startedat, updatedat, total
 *
 * What a crash can leave, and who takes care of it:
 *  - an ingest with data: resumed by the next writer of its ref, which hashes the data again; what is lost of
 *    startedat and the like is made up from the data file;
 *  - an ingest directory without data (before the first byte, or after the rename): removed at the start;
 *  - a blob that no row of the metadata names: removed by the collector's first run;
 *  - an empty file where a blob should be (other programs' writes without fsync): not there as far as this
 *    store goes, and replaced by the next commit.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "store/content-local-private.h"
#include "store/filter-text.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Closed writers whose hash is kept: a Digester is some 200 bytes. */
#define RESUME_MAX 64
#define SMALL_FILE_MAX 8192

static LocalStore *local(ContentStore *s)
{
	return (LocalStore *)s;
}

/* ---- paths ---- */

char *local_blob_path(LocalStore *s, const char *digest)
{
	g_autofree char *algorithm = digest_algorithm(digest);
	return g_strdup_printf("%s/blobs/%s/%s", s->root, algorithm, digest_hex(digest));
}

static bool is_digest_of_nothing(const char *digest)
{
	g_autofree char *algorithm = digest_algorithm(digest);
	g_autoptr(Digester) digester = digester_new(algorithm);
	if (digester == NULL)
		return false;
	g_autofree char *nothing = digester_digest(digester);
	return strcmp(digest, nothing) == 0;
}

bool local_blob_stat(const char *path, const char *digest, struct stat *ret)
{
	if (stat(path, ret) != 0)
		return false;
	if (S_ISREG(ret->st_mode) && (ret->st_size > 0 || is_digest_of_nothing(digest)))
		return true;
	errno = ENOENT;
	return false;
}

char *local_ingest_path(LocalStore *s, const char *ref)
{
	g_autofree char *digest = digest_bytes(ref, strlen(ref));
	return path_join(s->ingest_dir, digest_hex(digest));
}

/* ---- locks ---- */

/* Go's Time.String() of a wall-clock time. */
static char *time_go_string(TimeNs t)
{
	g_autofree char *rfc3339 = time_format_rfc3339(t); // 2026-01-02T15:04:05.5Z
	g_autoptr(GString) s = g_string_new(rfc3339);
	s->str[10] = ' ';
	g_string_truncate(s, s->len - 1);
	g_string_append(s, " +0000 UTC");
	return g_string_free(g_steal_pointer(&s), FALSE);
}

bool local_lock_ref(LocalStore *s, const char *ref, GError **error)
{
	TimeNs since, now = time_now();
	{
		LOCK_SCOPE(&s->lock);
		const TimeNs *held = g_hash_table_lookup(s->locks, ref);
		if (held == NULL) {
			g_hash_table_insert(s->locks, g_strdup(ref), g_memdup2(&now, sizeof(now)));
			return true;
		}
		since = *held;
	}
	g_autofree char *held_for = duration_format(now - since), *text = time_go_string(since);
	return error_set_class(error, CTRD_ERR_UNAVAILABLE, "ref %s locked for %s (since %s)", ref, held_for,
	                       text);
}

void local_unlock_ref(LocalStore *s, const char *ref)
{
	LOCK_SCOPE(&s->lock);
	g_hash_table_remove(s->locks, ref);
}

/* ---- hashes of closed writers ---- */

void resume_state_free(ResumeState *state)
{
	if (state == NULL)
		return;
	digester_free(state->digester);
	g_free(state->algorithm);
	g_free(state);
}

static void resume_drop(LocalStore *s, const char *ref)
{
	GList *link = g_queue_find_custom(&s->resume_order, ref, (GCompareFunc)strcmp);
	if (link == NULL)
		return;
	g_autofree char *key = link->data;
	g_queue_delete_link(&s->resume_order, link);
	g_hash_table_remove(s->resume, key);
}

void local_resume_put(LocalStore *s, const char *ref, ResumeState *state)
{
	LOCK_SCOPE(&s->lock);
	resume_drop(s, ref);
	if (s->resume_order.length >= RESUME_MAX)
		resume_drop(s, s->resume_order.head->data);
	char *key = g_strdup(ref);
	g_hash_table_insert(s->resume, key, state);
	g_queue_push_tail(&s->resume_order, key);
}

Digester *local_resume_take(LocalStore *s, const char *ref, const struct stat *st, const char *algorithm)
{
	LOCK_SCOPE(&s->lock);
	ResumeState *state = g_hash_table_lookup(s->resume, ref);
	if (state == NULL)
		return NULL;
	Digester *digester = NULL;
	if (state->st.st_ino == st->st_ino && state->st.st_dev == st->st_dev &&
	    state->st.st_size == st->st_size && state->st.st_mtim.tv_sec == st->st_mtim.tv_sec &&
	    state->st.st_mtim.tv_nsec == st->st_mtim.tv_nsec && strcmp(state->algorithm, algorithm) == 0)
		digester = g_steal_pointer(&state->digester);
	resume_drop(s, ref);
	return digester;
}

/* ---- the small files of an ingest ---- */

static TimeNs timespec_ns(struct timespec ts)
{
	return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

/* otherwise: what holds where a crash took the file or its content. */
static TimeNs read_time(const char *path, const char *name, TimeNs otherwise)
{
	g_autofree char *file = path_join(path, name), *text = NULL;
	size_t len;
	TimeNs t;
	if (!file_read(file, SMALL_FILE_MAX, &text, &len, NULL))
		return otherwise;
	if (g_str_has_prefix(text, "0001-01-01T00:00:00")) // Go's zero time
		return 0;
	return time_parse_rfc3339(text, &t, NULL) ? t : otherwise;
}

bool local_write_time(const char *path, const char *name, TimeNs t, GError **error)
{
	g_autofree char *file = path_join(path, name), *text = time_format_rfc3339(t);
	return file_write_atomic(file, text, strlen(text), 0644, false, error);
}

static int64_t read_total(const char *path)
{
	g_autofree char *file = path_join(path, "total"), *text = NULL;
	size_t len;
	int64_t total;
	if (!file_read(file, SMALL_FILE_MAX, &text, &len, NULL) || !parse_i64(text, &total))
		return 0;
	return total;
}

/* NOT_FOUND in place of a raw ENOENT, with Go's text in front. */
static bool set_missing(GError **error, int errnum, const char *what, const char *path)
{
	if (errnum != ENOENT)
		return error_set_errno(error, errnum, "%s %s", what, path);
	return error_set_class(error, CTRD_ERR_NOT_FOUND, "%s %s: no such file or directory", what, path);
}

static char *read_ref(const char *path, GError **error)
{
	g_autofree char *file = path_join(path, "ref");
	char *ref = NULL;
	size_t len;
	if (!path_exists(file)) {
		set_missing(error, ENOENT, "open", file);
		return NULL;
	}
	return file_read(file, SMALL_FILE_MAX, &ref, &len, error) ? ref : NULL;
}

ContentStatus *local_status(const char *path, GError **error)
{
	g_autofree char *data = path_join(path, "data");
	struct stat st;
	if (stat(data, &st) != 0) {
		set_missing(error, errno, "stat", data);
		return NULL;
	}
	g_autofree char *ref = read_ref(path, error);
	if (ref == NULL)
		return NULL;
	ContentStatus *status = g_new0(ContentStatus, 1);
	status->ref = g_steal_pointer(&ref);
	status->offset = st.st_size;
	status->total = read_total(path);
	TimeNs modified = timespec_ns(st.st_mtim);
	status->started_at = read_time(path, "startedat", modified);
	// updatedat is not written with every write
	status->updated_at = MAX(read_time(path, "updatedat", modified), modified);
	return status;
}

/* ---- the interface ---- */

static ContentInfo *info_new(const char *digest, const struct stat *st)
{
	ContentInfo *info = g_new0(ContentInfo, 1);
	info->digest = g_strdup(digest);
	info->size = st->st_size;
	info->created_at = timespec_ns(st->st_mtim);
	info->updated_at = timespec_ns(st->st_atim);
	info->labels = strmap_new();
	return info;
}

static ContentInfo *local_info(ContentStore *self, const Ctx *ctx, const char *digest, GError **error)
{
	g_autofree char *path = local_blob_path(local(self), digest);
	struct stat st;
	if (local_blob_stat(path, digest, &st))
		return info_new(digest, &st);
	if (errno == ENOENT)
		error_set_class(error, CTRD_ERR_NOT_FOUND, "content %s", digest);
	else
		error_set_errno(error, errno, "stat %s", path);
	return NULL;
}

static ContentInfo *local_update(ContentStore *self, const Ctx *ctx, const ContentInfo *info,
                                 const char *const *paths, GError **error)
{
	error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
	                "update not supported on immutable content store");
	return NULL;
}

static const char *info_field(const char *const *path, size_t n, bool *present, void *data)
{
	const ContentInfo *info = data;
	if (filter_is(path, n, "digest"))
		return filter_text(info->digest, present);
	if (filter_is(path, n, "labels"))
		return filter_map_field(info->labels, path + 1, n - 1, present);
	*present = false;
	return NULL;
}

typedef struct {
	const Filter *filter;
	ContentWalkFn fn;
	void *data;
} Walk;

static bool walk_algorithm(LocalStore *s, const char *algorithm, const Walk *walk, GError **error)
{
	g_autofree char *dir = g_strdup_printf("%s/blobs/%s", s->root, algorithm);
	if (!path_exists(dir))
		return true;
	g_autoptr(GPtrArray) names = dir_list(dir, 0, error);
	if (names == NULL)
		return false;
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *digest = g_strdup_printf("%s:%s", algorithm, (char *)names->pdata[i]);
		g_autofree char *path = path_join(dir, names->pdata[i]);
		struct stat st;
		if (!digest_validate(digest, NULL) || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
			continue; // not ours, or removed meanwhile
		g_autoptr(ContentInfo) info = info_new(digest, &st);
		if (filter_match(walk->filter, info_field, info) && !walk->fn(info, walk->data, error))
			return false;
	}
	return true;
}

static bool local_walk(ContentStore *self, const Ctx *ctx, const char *const *filters, ContentWalkFn fn,
                       void *data, GError **error)
{
	g_autoptr(Filter) filter = filter_parse_all(filters, error);
	if (filter == NULL)
		return false;
	static const char *const algorithms[] = {"sha256", "sha384", "sha512"};
	Walk walk = {filter, fn, data};
	for (size_t i = 0; i < G_N_ELEMENTS(algorithms); i++) {
		if (!walk_algorithm(local(self), algorithms[i], &walk, error))
			return false;
	}
	return true;
}

/* As upstream, what is not there is no error. */
static bool local_remove(ContentStore *self, const Ctx *ctx, const char *digest, GError **error)
{
	g_autofree char *path = local_blob_path(local(self), digest);
	if (unlink(path) == 0 || errno == ENOENT)
		return true;
	return error_set_errno(error, errno, "unlink %s", path);
}

static ssize_t reader_read_at(ContentReader *self, void *buf, size_t len, int64_t offset, GError **error)
{
	ssize_t n = RETRY_EINTR(pread(self->fd, buf, len, offset));
	if (n < 0)
		error_set_errno(error, errno, "read blob");
	return n;
}

static void reader_close(ContentReader *self)
{
	close(self->fd);
	g_free(self);
}

static ContentReader *local_reader(ContentStore *self, const Ctx *ctx, const Descriptor *desc, GError **error)
{
	static const ContentReaderOps ops = {.read_at = reader_read_at, .close = reader_close};
	g_autofree char *path = local_blob_path(local(self), desc->digest);
	struct stat st;
	autofd fd = -1;
	if (local_blob_stat(path, desc->digest, &st))
		fd = RETRY_EINTR(open(path, O_RDONLY | O_CLOEXEC));
	if (fd < 0) {
		if (errno == ENOENT)
			error_set_class(error, CTRD_ERR_NOT_FOUND, "blob %s expected at %s: blob not found",
			                desc->digest, path);
		else
			error_set_errno(error, errno, "blob %s expected at %s: open %s", desc->digest, path,
			                path);
		return NULL;
	}
	ContentReader *reader = g_new0(ContentReader, 1);
	reader->ops = &ops;
	reader->size = st.st_size;
	reader->fd = fd_steal(&fd);
	return reader;
}

static ContentStatus *local_status_of_ref(ContentStore *self, const Ctx *ctx, const char *ref, GError **error)
{
	g_autofree char *path = local_ingest_path(local(self), ref);
	return local_status(path, error);
}

static const char *status_field(const char *const *path, size_t n, bool *present, void *data)
{
	*present = filter_is(path, n, "ref");
	return *present ? ((ContentStatus *)data)->ref : NULL;
}

static GPtrArray *ingest_names(LocalStore *s, GError **error)
{
	if (!path_exists(s->ingest_dir))
		return g_ptr_array_new_with_free_func(g_free);
	return dir_list(s->ingest_dir, 0, error);
}

static GPtrArray *local_list_statuses(ContentStore *self, const Ctx *ctx, const char *const *filters,
                                      GError **error)
{
	LocalStore *s = local(self);
	g_autoptr(Filter) filter = filter_parse_all(filters, error);
	if (filter == NULL)
		return NULL;
	g_autoptr(GPtrArray) names = ingest_names(s, error);
	if (names == NULL)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)content_status_free);
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *path = path_join(s->ingest_dir, names->pdata[i]);
		g_autoptr(GError) cause = NULL;
		g_autoptr(ContentStatus) status = local_status(path, &cause);
		if (status != NULL) {
			if (filter_match(filter, status_field, status))
				g_ptr_array_add(list, g_steal_pointer(&status));
		} else if (!error_is(cause, CTRD_ERR_NOT_FOUND)) { // finished meanwhile: not there any more
			g_propagate_error(error, g_steal_pointer(&cause));
			return NULL;
		}
	}
	return g_steal_pointer(&list);
}

static GPtrArray *local_list_refs(ContentStore *self, const Ctx *ctx, GError **error)
{
	LocalStore *s = local(self);
	g_autoptr(GPtrArray) names = ingest_names(s, error);
	if (names == NULL)
		return NULL;
	g_autoptr(GPtrArray) refs = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *path = path_join(s->ingest_dir, names->pdata[i]);
		char *ref = read_ref(path, NULL);
		if (ref != NULL)
			g_ptr_array_add(refs, ref);
	}
	return g_steal_pointer(&refs);
}

static bool local_abort(ContentStore *self, const Ctx *ctx, const char *ref, GError **error)
{
	g_autofree char *path = local_ingest_path(local(self), ref);
	{
		LOCK_SCOPE(&local(self)->lock);
		resume_drop(local(self), ref);
	}
	return tree_remove(path, error);
}

static ContentWriter *local_writer(ContentStore *self, const Ctx *ctx, const char *ref,
                                   const Descriptor *desc, GError **error)
{
	LocalStore *s = local(self);
	if (!local_lock_ref(s, ref, error))
		return NULL;
	ContentWriter *writer = local_writer_new(s, ref, desc, error);
	if (writer == NULL)
		local_unlock_ref(s, ref);
	return writer;
}

static void local_free(ContentStore *self)
{
	LocalStore *s = local(self);
	g_hash_table_unref(s->locks);
	g_hash_table_unref(s->resume);
	g_queue_clear_full(&s->resume_order, g_free);
	lock_destroy(&s->lock);
	g_free(s->root);
	g_free(s->ingest_dir);
	g_free(s);
}

/* Directories that are no ingest: without data there is nothing to resume, without a ref nobody to do it. */
static bool remove_remains(LocalStore *s, GError **error)
{
	g_autoptr(GPtrArray) names = ingest_names(s, error);
	if (names == NULL)
		return false;
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *path = path_join(s->ingest_dir, names->pdata[i]);
		g_autofree char *data = path_join(path, "data"), *ref = path_join(path, "ref");
		g_autoptr(GError) cause = NULL;
		if (path_exists(data) && path_exists(ref))
			continue;
		if (!tree_remove(path, &cause))
			log_warn("failed to remove what is left of an ingest", "path", path, "error",
			         cause->message, NULL);
	}
	return true;
}

ContentStore *content_local_new(const char *root, GError **error)
{
	static const ContentStoreOps ops = {
	        .info = local_info,
	        .update = local_update,
	        .walk = local_walk,
	        .remove = local_remove,
	        .reader = local_reader,
	        .status = local_status_of_ref,
	        .list_statuses = local_list_statuses,
	        .list_refs = local_list_refs,
	        .abort = local_abort,
	        .writer = local_writer,
	        .free = local_free,
	};
	if (!dir_make_all(root, 0755, error))
		return NULL;
	LocalStore *s = g_new0(LocalStore, 1);
	s->base.ops = &ops;
	s->root = g_strdup(root);
	s->ingest_dir = path_join(root, "ingest");
	lock_init(&s->lock, "content-local", LOCK_RANK_LEAF);
	s->locks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	s->resume = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)resume_state_free);
	g_queue_init(&s->resume_order);
	if (!remove_remains(s, error)) {
		local_free(&s->base);
		return NULL;
	}
	return &s->base;
}
