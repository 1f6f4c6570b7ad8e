// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A registry in memory with images made on the spot, and a store to pull them into. */

#include "base/util.h"
#include "diff/tar.h"
#include "loop/lock.h"
#include "oci/manifest.h"
#include "remote/test-server.h"
#include "transfer/transfer.h"

typedef struct World World;

/* What a test wants to go wrong: called for each blob request before it is served; true: it has answered. */
typedef bool (*BlobHook)(World *w, TestRequest *r, const char *digest, GBytes *blob);

struct World {
	char *dir;
	TestServer *server;
	Lock lock;
	GHashTable *blobs;   // digest -> GBytes
	GHashTable *types;   // digest -> media type
	GHashTable *tags;    // tag -> digest
	GHashTable *gets;    // digest -> count of GETs of blobs
	GHashTable *uploads; // what was pushed: digest -> GBytes
	_Atomic(BlobHook) hook;

	MetaDb *db;
	ContentStore *backend, *content;
	Snapshotter *overlayfs, *native;
	Differ *differ;
	GPtrArray *platforms; // of UnpackPlatform*
	Transfer *transfer;
	Ctx ctx;
	GString *progress; // "event name progress/total" lines
};

World *world_new(void);
void world_free(World *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

/* ---- Making images ---- */

/* A layer from entries: "dir/" directory, "name=content" file, "name->target" symlink. Owned by the caller.
 */
GBytes *world_tar(const char *const *entries);
GBytes *world_compress(GBytes *tar, Compression c);
char *world_put(World *w, const char *media_type, GBytes *bytes); // its digest. Owned by the caller
/* An image of these layers (tars) for a platform; its manifest's descriptor. */
void world_image(World *w, const char *arch, const char *const *const *layers, Compression c,
                 Descriptor *ret);
void world_tag(World *w, const char *tag, const char *digest);
void world_index(World *w, const Descriptor *manifests, size_t n, Descriptor *ret);
unsigned world_gets(World *w, const char *digest);

/* ---- Pulling ---- */

char *world_ref(World *w, const char *tag); // "127.0.0.1:port/a/b:tag"
/* snapshotter NULL: nothing is unpacked. */
bool world_pull(World *w, const char *tag, const char *snapshotter, Cancel *cancel, GError **error);
/* "path type mode content" lines of the snapshot with this chain id, sorted. Owned by the caller. */
char *world_tree(World *w, Snapshotter *sn, const char *chain_id);
