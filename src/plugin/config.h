// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The daemon's configuration, upstream's cmd/containerd/server/config: versions 1 to 4 (older ones are
 * migrated in memory, each file before it is merged), imports, merging, the sections of plugins.
 *
 * Merging, as upstream: top-level scalars overwrite unless empty, lists get the new elements that they do not
 * have, [timeouts], [proxy_plugins.x] and [stream_processors.x] are replaced by key; in [plugins] tables
 * merge deeply and everything else overwrites, lists and empty values too. `imports` of a file are read after
 * it, in order; a file is read once. As upstream, the default import pattern is written by `config default`
 * but read only where a file has it.
 *
 * Texts that callers match are upstream's. Unknown keys never stop the daemon: they become warnings, which
 * config_load collects, because the log's format and level are set only afterwards. Threads: built by one,
 * then read-only.
 */

#include "base/schema.h"

#define CONFIG_VERSION 4
#define CONFIG_DEFAULT_PATH "/etc/containerd/config.toml"
#define CONFIG_DEFAULT_ROOT "/var/lib/containerd"
#define CONFIG_DEFAULT_STATE "/run/containerd"
#define CONFIG_DEFAULT_ADDRESS "/run/containerd/containerd.sock"
#define CONFIG_DEFAULT_IMPORTS "/etc/containerd/conf.d/*.toml"

typedef struct Config Config;

/* Upstream's defaults; nothing is read. */
Config *config_new(void);
void config_free(Config *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Config, config_free)

/* Reads path and its imports over what is there. A missing file is an error (`open PATH: no such file or
 * directory`); the caller asks first where that is fine. Syntax and type errors name file, line and column.
 */
bool config_load(Config *config, const char *path, GError **error);
/* After config_load failed: was it for a file that does not exist? What came before it is merged. `config
 * dump` shows that, as upstream's does. */
bool config_file_missing(const Config *config);
/* The same for text that was already read (tests, fuzzers); imports are not followed. */
bool config_load_data(Config *config, const char *data, size_t len, const char *file, GError **error);

/* What was noticed while loading: lines ready for the log, oldest first. Borrowed. */
const GPtrArray *config_warnings(const Config *config);
void config_add_warning(Config *config, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The complete top-level table; read it with conf_string(config_view(c), "debug.level") and so on. */
TomlValue *config_view(const Config *config);
void config_set_string(Config *config, const char *key, const char *value); // "root", "state", ...
/* The section of a plugin as written, merged; NULL where there is none. */
TomlValue *config_plugin_section(const Config *config, const char *uri);
/* The flag --address: the address of the gRPC server, and with it ttrpc's unless that is configured. */
bool config_set_address(Config *config, const char *address, GError **error);
/* Addresses of the servers as plugins see them; never empty. Owned by the caller. */
char *config_grpc_address(const Config *config);
char *config_ttrpc_address(const Config *config);
bool config_is_disabled(const Config *config, const char *uri);

/* The complete view of a plugin's section; unknown keys become warnings (to warn, or NULL: into
 * config_warnings). Error where the section has a wrong type somewhere. Owned by the caller. */
TomlValue *config_decode_plugin(Config *config, const ConfigSchema *schema, GError **error);

/* The timeout for "io.containerd.timeout.shim.load" and so on in nanoseconds: configured, else upstream's
 * default, else 1 s. */
int64_t config_timeout(const Config *config, const char *key);
/* `unable to parse X into a time duration`. */
bool config_check_timeouts(const Config *config, GError **error);

/* Appends the configuration as `containerd config dump` prints it: every plugin of upstream's default Linux
 * build with all its keys, timeouts, version 4. */
bool config_dump(Config *config, GString *out, GError **error);

/* Dotted keys that differ between two configurations, for reload. GPtrArray of char *. */
GPtrArray *config_diff(const Config *a, const Config *b);
/* The same for two tables (NULL: an empty one). */
GPtrArray *config_diff_tables(const TomlValue *a, const TomlValue *b);

/* The declared sections of upstream's plugins (plugin/schemas.c); NULL for an unknown uri. */
const ConfigSchema *config_schema(const char *uri);
const ConfigSchema *const *config_schemas(size_t *ret_n);
