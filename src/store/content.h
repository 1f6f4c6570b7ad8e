// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Content: blobs by digest, and ingests, their making (upstream core/content).
 *
 * Implementations: content-local.c (files), content-meta.c (namespaces, labels and leases over another
 * store), content-proxy.c (a plugin over gRPC). All pass store/content-suite.c. Thread-safe and blocking; a
 * ContentWriter and a ContentReader belong to one thread at a time. Locks of refs: a second writer for a ref
 * that is open is UNAVAILABLE with upstream's text `ref x locked for 1m2s (since ...): unavailable`.
 */

#include "base/digest.h"
#include "base/time.h"
#include "loop/ctx.h"
#include "oci/descriptor.h"
#include "store/meta.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
	char *digest;
	int64_t size;
	TimeNs created_at, updated_at;
	GHashTable *labels; // strmap
} ContentInfo;
void content_info_free(ContentInfo *info);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ContentInfo, content_info_free)

typedef struct {
	char *ref;
	int64_t offset, total;
	char *expected; // digest or NULL
	TimeNs started_at, updated_at;
} ContentStatus;
void content_status_free(ContentStatus *status);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ContentStatus, content_status_free)

typedef struct ContentStore ContentStore;
typedef struct ContentWriter ContentWriter;
typedef struct ContentReader ContentReader;

/* ret false ends the walk; the error then goes to the caller. */
typedef bool (*ContentWalkFn)(const ContentInfo *info, void *data, GError **error);

/* The interface; `self` is the implementation's. Functions may assume validated digests. */
typedef struct {
	ContentInfo *(*info)(ContentStore *self, const Ctx *ctx, const char *digest, GError **error);
	ContentInfo *(*update)(ContentStore *self, const Ctx *ctx, const ContentInfo *info,
	                       const char *const *paths, GError **error);
	bool (*walk)(ContentStore *self, const Ctx *ctx, const char *const *filters, ContentWalkFn fn,
	             void *data, GError **error);
	bool (*remove)(ContentStore *self, const Ctx *ctx, const char *digest, GError **error);
	ContentReader *(*reader)(ContentStore *self, const Ctx *ctx, const Descriptor *desc, GError **error);
	ContentStatus *(*status)(ContentStore *self, const Ctx *ctx, const char *ref, GError **error);
	GPtrArray *(*list_statuses)(ContentStore *self, const Ctx *ctx, const char *const *filters,
	                            GError **error);
	bool (*abort)(ContentStore *self, const Ctx *ctx, const char *ref, GError **error);
	ContentWriter *(*writer)(ContentStore *self, const Ctx *ctx, const char *ref, const Descriptor *desc,
	                         GError **error);
	/* The refs of all ingests, GPtrArray of char*: cheaper than list_statuses. May be NULL. */
	GPtrArray *(*list_refs)(ContentStore *self, const Ctx *ctx, GError **error);
	void (*free)(ContentStore *self);
} ContentStoreOps;
struct ContentStore {
	const ContentStoreOps *ops;
};

typedef struct {
	ssize_t (*read_at)(ContentReader *self, void *buf, size_t len, int64_t offset,
	                   GError **error); // 0: end
	void (*close)(ContentReader *self);
} ContentReaderOps;
struct ContentReader {
	const ContentReaderOps *ops;
	int64_t size;
	int fd; // of the blob's file where it is local (for splice, sendfile, mmap), else -1
};

typedef struct {
	bool (*write)(ContentWriter *self, const void *data, size_t len, GError **error); // appends
	char *(*digest)(ContentWriter *self); // of what is there; owned by the caller
	/* size 0 and expected NULL: not checked. Durable when it returns. The writer is finished, also after
	 * a failure, and stays to be freed. ALREADY_EXISTS where the blob is there (the ingest is gone then).
	 * Any other failure keeps the ingest: after a digest that does not match the same ref goes on to fail
	 * until it is truncated or aborted. Texts as upstream: `unexpected commit size 1, expected 2: failed
	 * precondition`, `unexpected commit digest sha256:..., expected sha256:...: failed precondition` */
	bool (*commit)(ContentWriter *self, const Ctx *ctx, int64_t size, const char *expected,
	               GHashTable *labels, GError **error);
	bool (*status)(ContentWriter *self, ContentStatus **ret, GError **error);
	bool (*truncate)(ContentWriter *self, int64_t size, GError **error);
	void (*close)(ContentWriter *self); // keeps the ingest for a resume; frees
	/* See content_writer_fd and content_writer_advance. May be NULL. */
	int (*fd)(ContentWriter *self);
	bool (*advance)(ContentWriter *self, int64_t len, Digester *digester, GError **error);
} ContentWriterOps;
struct ContentWriter {
	const ContentWriterOps *ops;
};

/* Dispatch, with the checks that are the same for all (digest syntax, empty refs). */
ContentInfo *content_info(ContentStore *s, const Ctx *ctx, const char *digest, GError **error);
ContentInfo *content_update(ContentStore *s, const Ctx *ctx, const ContentInfo *info,
                            const char *const *paths, GError **error);
bool content_walk(ContentStore *s, const Ctx *ctx, const char *const *filters, ContentWalkFn fn, void *data,
                  GError **error);
bool content_delete(ContentStore *s, const Ctx *ctx, const char *digest, GError **error);
ContentReader *content_reader(ContentStore *s, const Ctx *ctx, const Descriptor *desc, GError **error);
ContentStatus *content_status(ContentStore *s, const Ctx *ctx, const char *ref, GError **error);
GPtrArray *content_list_statuses(ContentStore *s, const Ctx *ctx, const char *const *filters, GError **error);
GPtrArray *content_list_refs(ContentStore *s, const Ctx *ctx, GError **error); // of char*
bool content_abort(ContentStore *s, const Ctx *ctx, const char *ref, GError **error);
ContentWriter *content_writer(ContentStore *s, const Ctx *ctx, const char *ref, const Descriptor *desc,
                              GError **error);
void content_store_free(ContentStore *s);

ssize_t content_read_at(ContentReader *r, void *buf, size_t len, int64_t offset, GError **error);
void content_reader_close(ContentReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ContentReader, content_reader_close)
bool content_write(ContentWriter *w, const void *data, size_t len, GError **error);
char *content_writer_digest(ContentWriter *w);
bool content_commit(ContentWriter *w, const Ctx *ctx, int64_t size, const char *expected, GHashTable *labels,
                    GError **error);
bool content_writer_status(ContentWriter *w, ContentStatus **ret, GError **error);
/* size 0 only: the ingest starts anew. */
bool content_truncate(ContentWriter *w, int64_t size, GError **error);
void content_writer_close(ContentWriter *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ContentWriter, content_writer_close)

/*
 * A pass with one copy and one hash. Bytes pushed with content_write are written and hashed there and then,
 * nothing is hashed again at the commit: a pipeline has no need for a hash of its own, content_writer_digest
 * is the running one. Where the caller writes by itself (splice, copy_file_range, another thread), it writes
 * to this fd (with an offset, or after lseek) behind the offset of content_writer_status and then says how
 * far it came. digester: the hash of everything from byte 0 to there, which the writer takes; NULL: the
 * writer reads back what is new. -1 and NOT_IMPLEMENTED where the store is not local.
 */
int content_writer_fd(ContentWriter *w);
bool content_writer_advance(ContentWriter *w, int64_t len, Digester *digester, GError **error);

/* Helpers (upstream core/content/helpers.go). */
/* A whole blob of at most max bytes, NUL-terminated past ret_len. */
bool content_read_blob(ContentStore *s, const Ctx *ctx, const Descriptor *desc, size_t max, char **ret,
                       size_t *ret_len, GError **error);
/* Writes data as a blob; there already is no error. */
bool content_write_blob(ContentStore *s, const Ctx *ctx, const char *ref, const void *data, size_t len,
                        const Descriptor *desc, GHashTable *labels, GError **error);
/* content_writer that waits while the ref is locked by another writer (upstream OpenWriter), until canceled.
 */
ContentWriter *content_open_writer(ContentStore *s, const Ctx *ctx, const char *ref, const Descriptor *desc,
                                   GError **error);

/* ROOT is <root>/io.containerd.content.v1.content: blobs/<alg>/<hex>,
 * ingest/<hash>/{data,ref,startedat,updatedat,total}. No namespaces, no labels: update is `update not
 * supported on immutable content store: failed precondition`, labels of a commit are left out, as upstream
 * without a label store. Opening it takes away what a crash left of ingests that can not be resumed. */
ContentStore *content_local_new(const char *root, GError **error);
/* Namespaced view of backend, which it borrows. Needs ctx->ns in every call. Emits events. */
ContentStore *content_meta_new(MetaDb *db, ContentStore *backend);
