// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Images as a client sees them: records and the documents behind them, read from the daemon (upstream
 * client/image.go, core/images/image.go). */

#include "ctr/ctr.h"
#include "oci/descriptor.h"
#include "oci/manifest.h"
#include "services/images/v1/images.pb-c.h"

bool ctr_image_get(Cli *cli, const char *name, Containerd__Services__Images__V1__GetImageResponse **ret,
                   GError **error);
bool ctr_images_list(Cli *cli, Containerd__Services__Images__V1__ListImagesResponse **ret,
                     GError **error); // filters: the arguments
bool ctr_image_delete(Cli *cli, const char *name, bool sync, GError **error);
Descriptor *ctr_image_target(const Containerd__Services__Images__V1__Image *image);

/* A blob of at most MANIFEST_MAX bytes; NUL-terminated past the end. NOT_FOUND where the daemon does not have
 * it. */
bool ctr_blob_read(Cli *cli, const char *digest, char **ret, size_t *ret_len, GError **error);
/* Streams a blob to an fd. */
/* The bytes as they come. */
typedef bool (*CtrChunkFn)(const void *data, size_t len, void *arg, GError **error);
bool ctr_blob_each(Cli *cli, const char *digest, CtrChunkFn fn, void *arg, GError **error);
bool ctr_blob_copy(Cli *cli, const char *digest, int fd, GError **error);
bool ctr_blob_exists(Cli *cli, const char *digest);

/* The manifest for the platform: itself, or the best of an index. `no match for platform in manifest: not
 * found`. */
Manifest *ctr_manifest(Cli *cli, const Descriptor *target, const PlatformMatcher *matcher, GError **error);
ImageConfig *ctr_image_config(Cli *cli, const Manifest *manifest, GError **error);
/* Platforms that are there, as text, sorted, without repeats. GPtrArray of char*. */
GPtrArray *ctr_image_platforms(Cli *cli, const Descriptor *target, GError **error);
/* Whether the snapshot of all layers is there. */
bool ctr_image_unpacked(Cli *cli, const Manifest *manifest, const char *snapshotter, bool *ret,
                        char **ret_chain_id, GError **error);
/* Applies what is missing of the layers, as upstream's Image.Unpack. */
bool ctr_image_unpack(Cli *cli, const Manifest *manifest, const char *snapshotter, bool sync_fs,
                      GError **error);
