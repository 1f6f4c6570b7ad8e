// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Media types and what they are (upstream core/images/mediatypes.go). All predicates take NULL as "". No
 * state. */

#include <glib.h>
#include <stdbool.h>

#define MEDIA_TYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_TYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_TYPE_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_TYPE_OCI_EMPTY_JSON "application/vnd.oci.empty.v1+json"
#define MEDIA_TYPE_OCI_LAYOUT_HEADER "application/vnd.oci.layout.header.v1+json"
#define MEDIA_TYPE_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_TYPE_OCI_LAYER_GZIP MEDIA_TYPE_OCI_LAYER "+gzip"
#define MEDIA_TYPE_OCI_LAYER_ZSTD MEDIA_TYPE_OCI_LAYER "+zstd"
#define MEDIA_TYPE_OCI_LAYER_NONDIST "application/vnd.oci.image.layer.nondistributable.v1.tar"
#define MEDIA_TYPE_OCI_LAYER_NONDIST_GZIP MEDIA_TYPE_OCI_LAYER_NONDIST "+gzip"
#define MEDIA_TYPE_OCI_LAYER_NONDIST_ZSTD MEDIA_TYPE_OCI_LAYER_NONDIST "+zstd"
#define MEDIA_TYPE_OCI_LAYER_ENCRYPTED MEDIA_TYPE_OCI_LAYER "+encrypted"
#define MEDIA_TYPE_OCI_LAYER_GZIP_ENCRYPTED MEDIA_TYPE_OCI_LAYER_GZIP "+encrypted"

#define MEDIA_TYPE_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define MEDIA_TYPE_DOCKER_LAYER_GZIP MEDIA_TYPE_DOCKER_LAYER ".gzip"
#define MEDIA_TYPE_DOCKER_LAYER_ZSTD MEDIA_TYPE_DOCKER_LAYER ".zstd"
#define MEDIA_TYPE_DOCKER_LAYER_FOREIGN "application/vnd.docker.image.rootfs.foreign.diff.tar"
#define MEDIA_TYPE_DOCKER_LAYER_FOREIGN_GZIP MEDIA_TYPE_DOCKER_LAYER_FOREIGN ".gzip"
#define MEDIA_TYPE_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define MEDIA_TYPE_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_TYPE_DOCKER_MANIFEST_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
/* Ours: what `ctr registry explain` asks the Transfer service for. */
#define TRANSFER_EXPLAIN "application/vnd.ctrd.registry.explanation.v1+json"
#define TRANSFER_EXPLAIN_ATTEMPT TRANSFER_EXPLAIN ";attempt=true"
#define MEDIA_TYPE_DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1+prettyjws"

#define MEDIA_TYPE_OCTET_STREAM "application/octet-stream" // of configurations that old Docker pushed
#define MEDIA_TYPE_EROFS_LAYER "application/vnd.erofs.layer.v1"
#define MEDIA_TYPE_IN_TOTO "application/vnd.in-toto+json"

#define MEDIA_TYPE_CHECKPOINT_PREFIX_ "application/vnd.containerd.container."
#define MEDIA_TYPE_CHECKPOINT MEDIA_TYPE_CHECKPOINT_PREFIX_ "criu.checkpoint.criu.tar"
#define MEDIA_TYPE_CHECKPOINT_PREDUMP MEDIA_TYPE_CHECKPOINT_PREFIX_ "criu.checkpoint.predump.tar"
#define MEDIA_TYPE_CHECKPOINT_RESOURCE MEDIA_TYPE_CHECKPOINT_PREFIX_ "resource.tar"
#define MEDIA_TYPE_CHECKPOINT_RW MEDIA_TYPE_CHECKPOINT_PREFIX_ "rw.tar"
#define MEDIA_TYPE_CHECKPOINT_CONFIG MEDIA_TYPE_CHECKPOINT_PREFIX_ "checkpoint.config.v1+proto"
#define MEDIA_TYPE_CHECKPOINT_OPTIONS MEDIA_TYPE_CHECKPOINT_PREFIX_ "checkpoint.options.v1+proto"
#define MEDIA_TYPE_CHECKPOINT_RUNTIME_NAME MEDIA_TYPE_CHECKPOINT_PREFIX_ "checkpoint.runtime.name"
#define MEDIA_TYPE_CHECKPOINT_RUNTIME_OPTIONS MEDIA_TYPE_CHECKPOINT_PREFIX_ "checkpoint.runtime.options+proto"

bool media_type_is_layer(const char *mt);
bool media_type_is_nondistributable(const char *mt);
bool media_type_is_docker(const char *mt);
bool media_type_is_manifest(const char *mt);
bool media_type_is_index(const char *mt);
bool media_type_is_config(const char *mt);
bool media_type_is_known_config(const char *mt); // checkpoints too
bool media_type_is_attestation(const char *mt);

/* The compression of a layer: "gzip", "zstd", "" (none, or wrapped by something else), "unknown" (Docker's
 * bare type, which may be compressed: look at the bytes). Static. NULL and NOT_IMPLEMENTED
 * `unrecognised mediatype x: not implemented` where it is no layer of a tar. */
const char *media_type_diff_compression(const char *mt, GError **error);
/* The part before the first "+", owned by the caller; ret_suffixes (may be NULL) the others, sorted. */
char *media_type_split(const char *mt, char ***ret_suffixes);
