// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Options of the runc runtime (containerd.runc.v1.Options) and the files in which a bundle keeps them:
 * options.json (all) and `runtime` (the binary's name alone, for historical reasons); upstream
 * cmd/containerd-shim-runc-v2/runc/container.go. Plain data, no state.
 */

#include "google/protobuf/any.pb-c.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Where runtimes keep their state unless the options say otherwise; the namespace is appended. */
#define RUNC_DEFAULT_ROOT "/run/containerd/runc"
#define RUNC_DEFAULT_BINARY "runc"

typedef struct {
	bool no_pivot_root, no_new_keyring, systemd_cgroup;
	char *shim_cgroup;
	uint32_t io_uid, io_gid;
	char *binary_name; // NULL: none given
	char *root;
	char *criu_work_path;
} RuncOptions;

void runc_options_clear(RuncOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RuncOptions, runc_options_clear)

/* From the Any of a request; NULL or empty: all defaults. Another type is INVALID_ARGUMENT. */
bool runc_options_parse(const Google__Protobuf__Any *any, RuncOptions *ret, GError **error);
/* From the protobuf's bytes. */
bool runc_options_parse_bytes(const uint8_t *data, size_t len, RuncOptions *ret, GError **error);
bool runc_options_is_type(const char *type_url);

bool runc_options_write(const char *bundle, const RuncOptions *options, GError **error);
/* A bundle without the files gives the defaults. */
bool runc_options_read(const char *bundle, RuncOptions *ret, GError **error);
