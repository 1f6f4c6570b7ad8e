// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Images from and to registries and archives (upstream core/transfer/local, core/unpack). Everything runs on
 * the caller's thread and threads of its own that end with it, until done or canceled; thread-safe.
 *
 * A pull is one pass: what the registry sends goes at once to the content store, the digest and, for layers,
 * through the decompressor into a snapshot. Nothing is visible before its digest is verified; a pull that
 * ends early leaves ingests that the next one resumes. Concurrent pulls of the same thing wait for the first.
 * What was made is held by the context's lease, or by one of our own until the image record is there.
 */

#include "diff/compression.h"
#include "loop/ctx.h"
#include "oci/descriptor.h"
#include "oci/platform.h"
#include "remote/resolver.h"
#include "store/content.h"
#include "store/images.h"
#include "store/meta.h"
#include "store/snapshots.h"
#include "transfer/differ.h"
#include "transfer/verifier.h"

#include <glib.h>
#include <stdbool.h>

/* Where images of a platform may be unpacked to. */
typedef struct {
	PlatformMatcher *platform; // owned
	char *name;                // of the snapshotter
	Snapshotter *snapshotter;  // borrowed
	Differ *differ;            // borrowed
	/* Snapshots get the labels of LABEL_SNAPSHOT_CRI_*, by which a remote snapshotter finds their
	 * content. Set by the maker. */
	bool annotations;
	char *config_type;  // of the images that it unpacks, NULL: OCI's and Docker's; owned
	char **layer_types; // what are layers beside OCI's and Docker's, NULL: none; owned
} UnpackPlatform;
UnpackPlatform *unpack_platform_new(PlatformMatcher *platform, Snapshotter *snapshotter, Differ *differ);
void unpack_platform_free(UnpackPlatform *p);

typedef struct {
	ContentStore *content;             // borrowed
	MetaDb *db;                        // borrowed
	GPtrArray *unpack_platforms;       // of UnpackPlatform*; referenced. Order is preference
	const char *default_snapshotter;   // NULL: "overlayfs"
	unsigned max_concurrent_downloads; // over all pulls; 0: 3
	/* Bytes of one range of a layer that comes in several at once; 0: 4 MiB. */
	size_t concurrent_layer_fetch_buffer;
	unsigned max_concurrent_uploads; // 0: 3
	HttpLimits http;                 // zero: defaults
	bool pull_referrers;             // TransferImages.referrers for all
	GPtrArray *verifiers;            // of NamedVerifier*, asked before each pull; referenced. NULL: none
	/* What is configured of registries, referenced: registries counts unless it names no directory. */
	RegistryCurrent *registries, *registries_fallback; // NULL: nothing
} TransferConfig;
typedef struct {
	const char *name;
	ImageVerifier *verifier;
} NamedVerifier; // all borrowed

typedef struct Transfer Transfer;
Transfer *transfer_new(const TransferConfig *config);
void transfer_free(Transfer *t);                           // after its last operation
RegistryCurrent *transfer_registries(Transfer *t);         // config.registries, borrowed
RegistrySettings *transfer_registry_settings(Transfer *t); // those in force; a reference

/* Progress as upstream's local transfer service tells it; events "waiting", "downloading", "complete",
 * "already exists", "extracting", "extracted", "saved", and whole sentences. */
typedef struct {
	const char *event, *name;
	char *const *parents; // NULL: none
	int64_t progress, total;
	const Descriptor *desc; // NULL: none
} TransferProgress;
typedef void (*TransferProgressFn)(const TransferProgress *p, void *data); // any thread, also two at once
typedef struct {
	TransferProgressFn fn; // NULL: nobody listens
	void *data;
} TransferProgressSink;

/* A registry, as source or destination. */
typedef struct {
	const char *reference;
	const char *const *headers; // "Name: value", NULL: none
	CredentialsFn credentials;  // NULL: anonymous
	void *credentials_data;
	const char *default_scheme; // NULL: https, for this machine also http
	RegistryHostsFn hosts;      // NULL: registry_hosts
	void *hosts_data;           // of hosts
	HttpTls *tls;               // NULL: the system's roots
	RegistrySettings *settings; // NULL: those in force in the daemon
	const HttpTrace *trace;     // NULL: none
} TransferRegistry;

/* What a pull would do, as a JSON document (remote/explain.h); attempt: ask each host. Owned by the caller.
 */
char *transfer_explain(Transfer *t, const Ctx *ctx, const TransferRegistry *from, bool attempt,
                       GError **error);

/* How the image of an archive gets its name (see api/types/transfer/imagestore.proto). */
typedef struct {
	char *name;
	bool is_prefix, allow_overwrite, add_digest, skip_named_digest;
} TransferReference;

typedef struct {
	Platform platform;
	char *snapshotter; // "" or NULL: the default
} TransferUnpack;

/* The image store, as source or destination. Arrays may be NULL. */
typedef struct {
	const char *name;
	GHashTable *labels;          // of new image records
	GPtrArray *platforms;        // of Platform*; none: all
	bool all_metadata;           // manifests and configs of the other platforms too
	unsigned manifest_limit;     // of an index; 0: all
	GPtrArray *extra_references; // of TransferReference*
	GPtrArray *unpacks;          // of TransferUnpack*
	bool snapshot_annotations;   // as UnpackPlatform.annotations, whatever the platform says
	/* Manifests do not keep their layers: they are for the garbage collector once the lease has gone. */
	bool discard_unpacked_layers;
	bool referrers; // of a pull: signatures and the like come too, and stay as long as the image
} TransferImages;

bool transfer_pull(Transfer *t, const Ctx *ctx, const TransferRegistry *from, const TransferImages *to,
                   TransferProgressSink progress, GError **error);
bool transfer_push(Transfer *t, const Ctx *ctx, const TransferImages *from, const TransferRegistry *to,
                   TransferProgressSink progress, GError **error);
bool transfer_tag(Transfer *t, const Ctx *ctx, const TransferImages *from, const TransferImages *to,
                  GError **error);

typedef struct {
	ByteSource source; // a tar archive of the OCI layout or of `docker save`
	void *data;
	const char *media_type; // "": may be compressed, else it is a plain tar
	bool force_compress;    // layers that are not compressed become so
} TransferImport;
bool transfer_import(Transfer *t, const Ctx *ctx, const TransferImport *from, const TransferImages *to,
                     TransferProgressSink progress, GError **error);

typedef struct {
	ByteSink sink;
	void *data;
	GPtrArray *platforms; // of Platform*; none: this machine's
	bool all_platforms;
	bool skip_compatibility_manifest; // no manifest.json of Docker's
	bool skip_non_distributable;
} TransferExport;
bool transfer_export(Transfer *t, const Ctx *ctx, const TransferImages *from, const TransferExport *to,
                     TransferProgressSink progress, GError **error);

/* Unpacks an image whose content is there into the platform's snapshotter, as the pull would. */
bool transfer_unpack(Transfer *t, const Ctx *ctx, const Descriptor *image, const TransferUnpack *unpack,
                     GError **error);

/* What was fetched from registries since the start of the process. */
int64_t transfer_fetched_bytes(void);

/* The ingest's name for a descriptor: "layer-sha256:...", "manifest-..." (upstream remotes.MakeRefKey). Owned
 * by the caller. */
char *transfer_ref_key(const Descriptor *desc);
