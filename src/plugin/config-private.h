// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugin/config.h"

struct Config {
	TomlValue *view;     // complete top-level table
	GPtrArray *warnings; // char *
	bool missing_file;
};

/* The keys of the top level. */
extern const ConfigKey config_keys[];

/* Brings the checked table of one file from its version to CONFIG_VERSION, as upstream's MigrateConfigTo and
 * the ConfigMigration of each plugin. What is ambiguous becomes a warning. */
bool config_migrate(TomlValue *table, Config *warnings, GError **error);
