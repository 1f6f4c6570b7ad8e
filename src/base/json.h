// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Bounded JSON: everything from outside is parsed here. json-c underneath (uint64 is kept). Thread-safe:
 * objects belong to one thread at a time. Getters never convert: a wrong type is as absent, unless _req where
 * it is an error.
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct json_object JsonObject;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonObject, json_object_put)

#define JSON_MAX_DEPTH 64

/* Parses exactly one document of at most max bytes (0: 8 MiB) and JSON_MAX_DEPTH levels; trailing white space
 * is fine, trailing text, invalid UTF-8 and NUL are not. A key that stands twice in one object is refused
 * (ambiguous documents are how registries fool clients). Class INVALID_ARGUMENT, text says line and what. */
JsonObject *json_parse(const char *data, size_t len, size_t max, GError **error);

/* Member of an object or NULL. Borrowed. */
JsonObject *json_get(JsonObject *o, const char *key);
JsonObject *json_get_object(JsonObject *o, const char *key); // NULL unless it is an object
JsonObject *json_get_array(JsonObject *o, const char *key);
const char *json_get_string(JsonObject *o, const char *key); // NULL unless it is a string
bool json_get_int64(JsonObject *o, const char *key, int64_t *ret);
bool json_get_bool(JsonObject *o, const char *key, bool *ret);
/* Array of strings as a NULL-terminated vector, or NULL where absent; other element types are an error. */
bool json_get_strv(JsonObject *o, const char *key, char ***ret, GError **error);
/* Object of strings as a strmap (base/util.h), empty where absent; other value types are an error. */
bool json_get_strmap(JsonObject *o, const char *key, GHashTable **ret, GError **error);

/* Compact text, keys in insertion order. Owned by the caller. */
char *json_to_text(JsonObject *o);
char *json_to_text_pretty(JsonObject *o); // 4 spaces, as ctr prints

/* Small builders: take ownership of value. */
void json_set(JsonObject *o, const char *key, JsonObject *value);
void json_set_string(JsonObject *o, const char *key, const char *value); // NULL: nothing is set
void json_set_int64(JsonObject *o, const char *key, int64_t value);
