// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Directories of registry configuration: <root>/<name>/hosts.toml, or certificates as Docker lays them out
 * (upstream core/remotes/docker/config/hosts.go). Pure reading: nothing is contacted, certificates are not
 * opened. Where upstream ignores a broken hosts.toml and goes to the default server, this is an error: a site
 * that maps registries to its own must not leave it because of a typing mistake.
 */

#include "base/schema.h"
#include "remote/http.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define HOSTS_TOML_MAX (1u << 20) // bytes of one file

typedef struct {
	char *scheme, *host, *path; // host NULL: the server of the name itself, path and scheme are its
	char *where;                // "FILE:LINE"
	unsigned capabilities;      // REGISTRY_PULL and so on (remote/registry.h)
	char **ca;                  // absolute; NULL: none
	GArray *pairs;              // of HttpTlsPair, absolute; NULL: none
	int skip_verify;            // -1: not said
	char **headers;             // "Name: value"; NULL: none
	int64_t dial_timeout_ns;    // 0: not said
	/* Beyond upstream: who knows the user's name and password (remote/credentials.h). NULL: not said. */
	char *credential_helper, *credential_file;
} HostConfig;
void host_config_free(HostConfig *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostConfig, host_config_free)

/* Takes the two names; key NULL: it is in cert. */
void host_config_add_pair(HostConfig *h, char *cert, char *key);

/* The directories of a search path "a:b", without empty ones. */
char **hosts_dirs_split(const char *path);
/* The first directory that is there: in each root `host_5000_`, `host:5000`, `_default`. NULL without error:
 * none. Owned by the caller. */
char *hosts_dir_find(const char *const *roots, const char *name, GError **error);
/* What a directory says: GPtrArray of HostConfig*, in the order in which they are tried, at least one.
 * Without a hosts.toml, or with an empty one: *.crt are roots, *.cert and *.key client certificates. Errors
 * start with `FILE:LINE: `. warnings: of char*, gets a line for each unknown key; may be NULL. */
GPtrArray *hosts_dir_load(const char *dir, GPtrArray *warnings, GError **error);
/* The file alone; relative paths in it are relative to the directory of `file`. */
GPtrArray *hosts_toml_parse(const char *data, size_t len, const char *file, GPtrArray *warnings,
                            GError **error);

/* "Name: value" of a configured header. false: not a header's name, or a value with a line break. */
bool header_line(const char *name, const char *value, char **ret);
