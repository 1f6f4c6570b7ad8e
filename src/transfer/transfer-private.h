// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the operations share: the service, one operation's context, fetching, unpacking, names. */

#include "remote/ranges.h"
#include "transfer/limits.h"
#include "transfer/progress.h"
#include "transfer/transfer.h"

struct Transfer {
	TransferConfig config;
	Semaphore *downloads, *uploads;
	Ranges ranges;   // memory of layers that come over several connections
	KeyedLock *once; // one fetch for each digest, one unpack for each chain id
};

/* One operation of one caller. */
typedef struct {
	Transfer *t;
	Ctx ctx;            // with a lease, and a token that ends with the first failure
	char *own_lease;    // to be deleted at the end, NULL: the caller's
	Resolver *resolver; // NULL: nothing is fetched
	Progress *progress;
	char *source_label, *source_repo; // distribution.source; NULL: no registry
	const char *image_ref;            // of a pull: for remote snapshotters. Borrowed
	bool snapshot_annotations, discard_layers;
} Operation;
bool operation_begin(Operation *op, Transfer *t, const Ctx *ctx, GError **error);
/* It has done what it was for: its lease goes, and all that it wrote to the metadata is durable, with one
 * sync. */
bool operation_finish(Operation *op, GError **error);
void operation_end(Operation *op);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Operation, operation_end)
/* The operation's context without its cancel token: for cleaning up. */
Ctx operation_cleanup_ctx(const Operation *op);

/* ---- fetch.c ---- */

typedef struct {
	bool existed;       // nothing was fetched
	bool teed;          // tee got every byte from the first to the last
	bool tee_spoilt;    // tee got bytes that were wrong; those that are there now it did not get
	GError *tee_failed; // tee's error; the content came all the same
} FetchResult;
void fetch_result_clear(FetchResult *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FetchResult, fetch_result_clear)

/* Brings a blob into the content store, where it is not there: verified, labelled with its source and, for
 * manifests and indexes, with references to what they refer to. tee (may be NULL) gets the bytes as they
 * come, before they are verified. */
bool fetch_content(Operation *op, const Descriptor *desc, ByteSink tee, void *tee_data, FetchResult *ret,
                   GError **error);

/* ---- unpack.c ---- */

/* The configured platform that a wish means; NULL: none. */
UnpackPlatform *unpack_platform_find(Transfer *t, const TransferUnpack *wish);
/* Fetches the layers that are wanted and makes them snapshots. wanted: of UnpackPlatform* (borrowed): the
 * first that fits the image's configuration; where none fits the layers are only fetched. manifest: its
 * digest. */
bool unpack_image(Operation *op, const char *manifest, const Descriptor *config, GPtrArray *layers,
                  GPtrArray *wanted, GError **error);
/* Fetches all, max_concurrent_downloads at a time. */
bool fetch_all(Operation *op, GPtrArray *descriptors, GError **error);

/* Runs fn(data, i) for 0 <= i < n in order of i on up to n_threads threads. The first error cancels the
 * operation and is returned, the rest is not started. */
typedef bool (*ParallelFn)(void *data, guint i, GError **error);
bool parallel_run(Operation *op, unsigned n_threads, guint n, ParallelFn fn, void *data, GError **error);

/* ---- walk.c ---- */

PlatformMatcher *images_matcher(const TransferImages *images);

/* From an index or manifest down to what is to be unpacked and what is just to be fetched. Documents are
 * fetched on the way, and labelled with references to all their children, wanted or not. */
typedef struct {
	Operation *op;
	const TransferImages *images;
	PlatformMatcher *matcher;
	GPtrArray *wanted;   // of UnpackPlatform*, borrowed; empty: nothing is unpacked
	GPtrArray *found;    // images to unpack
	GPtrArray *leaves;   // of Descriptor*: to fetch and no more
	unsigned n_children; // selected so far
	bool legacy_config;  // one is MEDIA_TYPE_OCTET_STREAM
} Walk;
void walk_init(Walk *w, Operation *op, const TransferImages *images);
void walk_clear(Walk *w);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)
bool walk(Walk *w, const Descriptor *desc, GError **error);
bool walk_unpack(Walk *w, GError **error);

/* ---- names.c ---- */

/* Records under all names that the settings give the descriptor; GPtrArray of Image*. NOT_FOUND `no image
 * name found: not found` where there is none. An annotation ANNOTATION_IMPORT_REF_SOURCE says that the
 * descriptor's own annotations name it. */
GPtrArray *store_images(Operation *op, const TransferImages *images, const Descriptor *desc, GError **error);
#define IMPORT_SOURCE_ANNOTATION "annotation"
/* The images that the settings name; GPtrArray of Image*. */
GPtrArray *lookup_images(Operation *op, const TransferImages *images, GError **error);
/* What OCI wants as the name of an entry: the tag, or the whole where there is none. Owned by the caller. */
char *oci_reference_name(const char *name);

/* ---- pull.c ---- */

/* What a registry's settings make of the reference. */
Resolver *registry_resolver(Transfer *t, const TransferRegistry *r, HttpClient *http, const char *reference,
                            GError **error);
/* Labels content of this name with where it comes from. */
bool set_source(Operation *op, const char *name, GError **error);
