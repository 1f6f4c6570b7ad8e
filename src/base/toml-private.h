// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/toml.h"

/* How a table came to be decides what may be added to it (TOML v1.0, "Table" and "Inline Table"). */
typedef enum {
	TABLE_IMPLICIT, // named on the way to another header: one header may still define it
	TABLE_DEFINED,  // by its own header
	TABLE_DOTTED,   // by a dotted key of the section in work: dotted keys of that section may add to it
	TABLE_INLINE,   // closed
} TableState;

struct TomlValue {
	TomlType type;
	TableState state;
	bool of_tables; // an array made of [[headers]]
	uint32_t line, column;
	char *file; // GRefString, shared by all values of a file
	union {
		char *string;
		int64_t integer;
		double number;
		bool boolean;
		struct {
			GPtrArray *values; // TomlValue
			GPtrArray *keys;   // tables: char *, parallel to values
			GHashTable *index; // tables of more than a few keys: key -> place + 1
		};
	};
};

TomlValue *toml_value_new(TomlType type);
/* Adds without looking whether the key is there; returns value. */
TomlValue *toml_table_add(TomlValue *table, const char *key, TomlValue *take);
