// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Declared configuration: a table of keys with type and default says what a TOML table may hold. From it come
 * the checks (unknown keys, wrong types, with file, line and the nearest known key), the defaults, and
 * `config default`.
 *
 * The rules are those of upstream's decoder (go-toml v2 into a struct): key names match also in another case;
 * an unknown key is a warning and is ignored; a value of another type is an error; an integer may stand for a
 * float; a key that is absent keeps its default; given lists replace the default list, given tables and maps
 * add to the default map. Threads: as toml.h.
 */

#include "base/toml.h"

typedef enum {
	CONFIG_STRING,
	CONFIG_BOOL,
	CONFIG_INT,
	CONFIG_FLOAT,
	CONFIG_DURATION,    // Go's duration in a string, "1m30s"
	CONFIG_STRINGS,     // array of strings
	CONFIG_STRING_MAP,  // table of strings under any key
	CONFIG_STRINGS_MAP, // table of arrays of strings under any key
	CONFIG_TABLE,       // table with `keys`
	CONFIG_TABLE_MAP,   // tables with `keys` under any key
	CONFIG_TABLES,      // array of tables with `keys`
	CONFIG_ANY_MAP,     // table of anything
	CONFIG_ANY,         // anything: the reader looks what it is
} ConfigType;

typedef struct ConfigKey ConfigKey;
struct ConfigKey {
	const char *name;
	ConfigType type;
	/* The default as a TOML value ("'/opt/cni/bin'" with its quotes); NULL: zero, "", false, an empty
	 * list, the defaults of `keys`, and for maps none. */
	const char *value;
	char *(*make_value)(void); // instead of value, for defaults that depend on the machine
	const ConfigKey *keys;     // ended by an entry without a name
	bool omit_empty;           // not written where empty (Go's omitempty)
	/* CONFIG_TABLE: the table is absent unless something in it is set (a nil pointer in upstream). */
	bool optional;
};

typedef struct ConfigSchema ConfigSchema;
struct ConfigSchema {
	const char *uri; // the plugin's, or NULL
	const ConfigKey *keys;
	/* Checks what types cannot say, before the plugin's init; may change view as upstream's validation
	 * does. Ids of deprecations in use are added (static strings). NULL: nothing to check. */
	bool (*validate)(TomlValue *view, GPtrArray *deprecations, GError **error);
};

/* A warning: where it stands (never NULL), the key as a dotted path, the nearest known key or NULL. */
typedef void (*SchemaWarnFn)(const TomlValue *where, const char *key, const char *nearest, void *data);

/* A checked copy of a table: unknown entries are reported and left out, names get their declared case,
 * durations Go's form, integers for floats are converted. What is absent stays absent. NULL and
 * INVALID_ARGUMENT where a value has another type: `FILE:LINE: "a.b" must be a string, not an integer`. path
 * is put before the keys in texts ("" for none). warn may be NULL. */
TomlValue *schema_check(const ConfigKey *keys, const TomlValue *table, const char *path, SchemaWarnFn warn,
                        void *data, GError **error);
/* The complete table of defaults, keys in declared order. */
TomlValue *schema_defaults(const ConfigKey *keys);
/* Puts a checked table over a complete one. */
void schema_apply(const ConfigKey *keys, TomlValue *complete, const TomlValue *table);
/* The three together: a complete view. table may be NULL; it is not changed. */
TomlValue *schema_decode(const ConfigKey *keys, const TomlValue *table, const char *path, SchemaWarnFn warn,
                         void *data, GError **error);
/* Makes a complete table ready to be written: drops what is omitted, sorts maps. */
void schema_prepare_write(const ConfigKey *keys, TomlValue *complete);

/* The nearest of the declared names, or NULL where none is near. */
const char *schema_nearest(const ConfigKey *keys, const char *name);
/* The nearest of n words; NULL where more than a third of the letters would have to change. */
const char *nearest_word(const char *const *words, size_t n, const char *word);

/* Reading a view (what schema_decode gave). path is "key" or "table.key"; a key that the schema does not
 * declare, or a wrong type, is a bug and asserts. Borrowed unless said. */
const char *conf_string(const TomlValue *view, const char *path);
bool conf_bool(const TomlValue *view, const char *path);
int64_t conf_int(const TomlValue *view, const char *path);
double conf_float(const TomlValue *view, const char *path);
int64_t conf_duration(const TomlValue *view, const char *path); // nanoseconds
/* A new vector, to be freed with g_strfreev; never NULL. */
char **conf_strings(const TomlValue *view, const char *path);
/* A table, map or array of tables; NULL where absent. Walk it with toml_size, toml_key_at, toml_at. */
TomlValue *conf_table(const TomlValue *view, const char *path);
/* A copy as a strmap (base/util.h), empty where absent. */
GHashTable *conf_string_map(const TomlValue *view, const char *path);
