// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Making containers from flags: image, snapshot, spec, record (container.c, spec.c). */

#include "base/json.h"
#include "ctr/ctr.h"
#include "message.h"
#include "oci/manifest.h"
#include "types/mount.pb-c.h"
#include "types/runc/options/oci.pb-c.h"

typedef struct {
	char *id;
	char *snapshotter, *snapshot_key; // NULL: no snapshot (--rootfs, --config)
	bool terminal;
	uint32_t io_uid, io_gid; // who owns the streams where ids are mapped
} CtrContainer;
void ctr_container_clear(CtrContainer *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CtrContainer, ctr_container_clear)

extern const CliFlag flags_container[]; // what a container may be given
extern const CliFlag flags_runtime[];   // --runtime, --runc-*

/* From the flags and arguments of the command. After a failure neither snapshot nor record is left. */
bool ctr_container_create(Cli *cli, CtrContainer *ret, GError **error);
bool ctr_container_load(Cli *cli, const char *id, CtrContainer *ret, GError **error);
/* The options of --runtime from --runc-* and --runtime-config-path; NULL: none. Freed with autopb. */
bool ctr_runtime_options(Cli *cli, Google__Protobuf__Any **ret, GError **error);
/* What --runc-* say; borrowed strings. True where any was given. */
bool ctr_runc_options(Cli *cli, Containerd__Runc__V1__Options *o);

/* Where users and groups are looked up: in a directory, or in mounts, which are mounted read-only for the
 * moment. Neither: names are an error. */
typedef struct {
	const char *root;
	GPtrArray *mounts; // of Mount
} CtrRootfs;
bool ctr_set_user(JsonObject *spec, const char *user, const CtrRootfs *rootfs, GError **error);
GPtrArray *ctr_mounts_in(size_t n, Containerd__Types__Mount *const *in);

/* spec.c: the spec from the flags. config NULL: no image. */
JsonObject *ctr_spec_build(Cli *cli, const char *id, const ImageConfig *config, const CtrRootfs *rootfs,
                           char **args, GError **error);
/* Who owns container root's files on the host: the first of the id maps. */
void ctr_spec_io_owner(JsonObject *spec, uint32_t *ret_uid, uint32_t *ret_gid);
