// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * TOML v1.0.0 (toml.io/en/v1.0.0): a parser into an ordered tree of values that know where they stand, and a
 * writer in the layout of upstream's `config dump` (go-toml v2 with indented tables).
 *
 * A document is at most TOML_MAX_SIZE bytes, TOML_MAX_DEPTH levels and TOML_MAX_VALUES values. Errors are of
 * class INVALID_ARGUMENT and start with `FILE:LINE:COLUMN: `. Where the specification and upstream's parser
 * differ (a [table] after dotted keys went through the same implicit table), what upstream accepts is
 * accepted.
 *
 * Strings and keys are UTF-8 and end with NUL; U+0000 inside one (TOML allows "\u0000") is kept as the two
 * bytes C0 80, which valid UTF-8 cannot contain, and written back as \u0000.
 *
 * Threads: a tree belongs to one thread at a time, or is read-only for all. Ownership: containers own their
 * values; functions with "take" in their comment take the value given.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOML_MAX_SIZE (16u << 20)
#define TOML_MAX_DEPTH 128u
#define TOML_MAX_VALUES (1u << 18)

typedef enum {
	TOML_STRING,
	TOML_INTEGER,
	TOML_FLOAT,
	TOML_BOOLEAN,
	TOML_OFFSET_DATETIME, // the four kinds of time keep their text, checked, with T and Z in upper case
	TOML_LOCAL_DATETIME,
	TOML_LOCAL_DATE,
	TOML_LOCAL_TIME,
	TOML_ARRAY,
	TOML_TABLE,
} TomlType;

typedef struct TomlValue TomlValue;

/* Returns the root table. file is for error texts and positions; NULL is "<input>". */
TomlValue *toml_parse(const char *data, size_t len, const char *file, GError **error);
void toml_free(TomlValue *v); // NULL is fine
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TomlValue, toml_free)
TomlValue *toml_copy(const TomlValue *v); // deep, positions included

TomlType toml_type(const TomlValue *v);
/* "string", "integer", "float", "boolean", "offset date-time", ..., "array", "table". */
const char *toml_type_name(TomlType type);

/* Where the key of a table's entry, or the value of an array's element, stands. Line and column count from 1
 * (columns in characters); 0 and NULL for values that were not parsed. */
const char *toml_file(const TomlValue *v);
unsigned toml_line(const TomlValue *v);
unsigned toml_column(const TomlValue *v);
/* "FILE:LINE", or "<default>" for values that were not parsed. Owned by the caller. */
char *toml_where(const TomlValue *v);
/* dst gets the position of src. */
void toml_set_position(TomlValue *dst, const TomlValue *src);

/* Scalars. Asserts the type: ask toml_type first. toml_string is also for the kinds of time. */
const char *toml_string(const TomlValue *v);
int64_t toml_integer(const TomlValue *v);
double toml_float(const TomlValue *v);
bool toml_boolean(const TomlValue *v);

/* Arrays and tables; order is that of the document. An index must be below toml_size. */
size_t toml_size(const TomlValue *v);
TomlValue *toml_at(const TomlValue *v, size_t i);
const char *toml_key_at(const TomlValue *table, size_t i);
TomlValue *toml_get(const TomlValue *table, const char *key); // NULL where absent
/* The same with a type; NULL where absent or of another type. */
TomlValue *toml_get_typed(const TomlValue *table, const char *key, TomlType type);

TomlValue *toml_new_string(const char *s);
TomlValue *toml_new_integer(int64_t i);
TomlValue *toml_new_float(double f);
TomlValue *toml_new_boolean(bool b);
TomlValue *toml_new_array(void);
TomlValue *toml_new_table(void);
void toml_append(TomlValue *array, TomlValue *take);
/* Adds, or replaces at the same place. */
void toml_set(TomlValue *table, const char *key, TomlValue *take);
bool toml_remove(TomlValue *table, const char *key);
/* Takes an entry out; NULL where absent. The caller owns it. */
TomlValue *toml_steal(TomlValue *table, const char *key);
/* Removes all entries or elements. */
void toml_clear(TomlValue *container);
/* Sorts the keys of a table (strcmp), and with deep those of all tables below. */
void toml_sort(TomlValue *v, bool deep);

/* Same types and values; the order of keys and positions do not count. */
bool toml_equal(const TomlValue *a, const TomlValue *b);
/* Zero, "", false, no elements: what upstream calls an empty value. Dates are never empty. */
bool toml_is_empty(const TomlValue *v);

/* Appends the document: for each table first its plain keys, then its sub-tables, each in the order of the
 * tree, the tables below the root indented by two spaces a level. Strings are in single quotes unless they
 * need escapes. */
void toml_write(GString *out, const TomlValue *root);
/* One value as it stands after `key = `. */
void toml_write_value(GString *out, const TomlValue *v);
