// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * OCI runtime specs (config.json) as JSON objects, made and changed as upstream's pkg/oci does it (spec.go,
 * spec_opts*.go). Functions change the spec in place; missing parts are made. Those that can fail say so;
 * after an error the spec is not to be used. One thread at a time.
 */

#include "base/json.h"
#include "oci/manifest.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define SPEC_TYPE_URL "types.containerd.io/opencontainers/runtime-spec/1/Spec"
#define SPEC_PROCESS_TYPE_URL "types.containerd.io/opencontainers/runtime-spec/1/Process"

/* The default for Linux, with the cgroup /<ns>/<id>, and rules for the standard devices. */
JsonObject *spec_new(const char *ns, const char *id);

/* Environment, arguments and working directory of an image; args (may be NULL or empty) in the place of its
 * Cmd. Not the user: spec_set_user. */
void spec_set_image(JsonObject *spec, const ImageConfig *config, const char *const *args);
void spec_set_args(JsonObject *spec, const char *const *args);
void spec_set_cwd(JsonObject *spec, const char *cwd);
/* NAME=value replaces or appends, a bare NAME removes. */
void spec_add_env(JsonObject *spec, const char *const *env);
void spec_set_terminal(JsonObject *spec); // and TERM=xterm
void spec_set_root(JsonObject *spec, const char *path, bool readonly);
void spec_set_hostname(JsonObject *spec, const char *hostname);
void spec_add_annotations(JsonObject *spec, GHashTable *annotations);

/*
 * USER as in images: uid, name, uid:gid, name:group... Names are looked up in /etc/passwd and /etc/group
 * below rootfd (-1: there is none, and names are an error). Those files are regular and at most 10 MiB; lines
 * with numbers that are none, or over 2^31-1, do not count. Texts as upstream: `invalid USER value "x": uid
 * out of range`, `no users found`; stricter than upstream: what looks like a number but is none (+0, 0x0, "
 * 0") is an error and not looked up as a name. The groups of the user are set too (WithUser with
 * WithAdditionalGIDs). NULL or "": root and the groups of "root".
 */
bool spec_set_user(JsonObject *spec, const char *user, int rootfd, GError **error);
/* type=bind,src=/x,dst=/y,options=rbind:ro as ctr's --mount; replaces one with the same destination. */
bool spec_add_mount_flag(JsonObject *spec, const char *flag, GError **error);
void spec_add_mount(JsonObject *spec, const char *type, const char *source, const char *destination,
                    const char *const *options);

void spec_remove_namespace(JsonObject *spec, const char *type);                // the host's
void spec_set_namespace(JsonObject *spec, const char *type, const char *path); // path NULL: a new one
bool spec_namespace_type_valid(const char *type);
void spec_add_id_map(JsonObject *spec, bool gid, uint32_t container, uint32_t host, uint32_t size);

void spec_add_caps(JsonObject *spec, const char *const *caps);
void spec_drop_caps(JsonObject *spec, const char *const *caps);
bool spec_set_privileged(JsonObject *spec, GError **error); // all our capabilities, nothing masked
void spec_allow_all_devices(JsonObject *spec);
bool spec_add_host_devices(JsonObject *spec, GError **error);
/* A device, or all below a directory, with access "rwm". */
bool spec_add_device(JsonObject *spec, const char *path, const char *access, GError **error);
void spec_set_new_privileges(JsonObject *spec, bool allowed);
void spec_set_apparmor(JsonObject *spec, const char *profile);

void spec_set_cgroup(JsonObject *spec, const char *path);
void spec_set_memory_limit(JsonObject *spec, uint64_t bytes);
void spec_set_cpu_cfs(JsonObject *spec, int64_t quota, uint64_t period);
void spec_set_cpu_burst(JsonObject *spec, uint64_t burst);
void spec_set_cpu_shares(JsonObject *spec, uint64_t shares);
void spec_set_cpuset(JsonObject *spec, const char *cpus, const char *mems); // NULL: unchanged
void spec_set_rlimit(JsonObject *spec, const char *type, uint64_t soft, uint64_t hard);
void spec_set_rootfs_propagation(JsonObject *spec, const char *propagation);
