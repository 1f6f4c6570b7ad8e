// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Cleanup attributes and small things that every file uses. No state. */

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

static inline void fd_cleanup_(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}
/* An fd that is closed at the end of its scope; -1 is none. */
#define autofd __attribute__((cleanup(fd_cleanup_))) int

static inline int fd_steal(int *fd)
{
	int r = *fd;
	*fd = -1;
	return r;
}

static inline void fd_close(int *fd)
{
	fd_cleanup_(fd);
	*fd = -1;
}

/* Retry a system call that EINTR interrupts. */
#define RETRY_EINTR(expr)                                                                                    \
	({                                                                                                   \
		__typeof__(expr) r_;                                                                         \
		do                                                                                           \
			r_ = (expr);                                                                         \
		while (r_ == -1 && errno == EINTR);                                                          \
		r_;                                                                                          \
	})

static inline bool str_empty(const char *s)
{
	return s == NULL || *s == '\0';
}

/* NULL-safe view of a string. */
static inline const char *str_or(const char *s, const char *otherwise)
{
	return s != NULL ? s : otherwise;
}

/* Parse a whole string as a number in base 10; the output is untouched on failure. No sign for the u variant,
 * no leading space, no trailing text. */
bool parse_u64(const char *s, uint64_t *ret);
bool parse_i64(const char *s, int64_t *ret);

/* A string map (labels, annotations): char* -> char*, both owned. Never NULL by convention of the callers. */
GHashTable *strmap_new(void);
GHashTable *strmap_copy(GHashTable *map); // NULL copies as an empty map
bool strmap_equal(GHashTable *a, GHashTable *b);
static inline const char *strmap_get(GHashTable *map, const char *key)
{
	return map != NULL ? g_hash_table_lookup(map, key) : NULL;
}
static inline void strmap_set(GHashTable *map, const char *key, const char *value)
{
	g_hash_table_insert(map, g_strdup(key), g_strdup(value));
}
/* The keys in strcmp order; free the list with g_ptr_array_unref (the strings belong to the map). */
GPtrArray *strmap_sorted_keys(GHashTable *map);

/* A protobuf Any without protobuf: what containers, leases and events carry through the daemon unread. */
typedef struct {
	char *type_url; // NULL: there is no value
	GBytes *value;  // may be NULL for an empty value
} Any;
void any_clear(Any *any);
void any_copy(Any *ret, const Any *any);
static inline bool any_is_set(const Any *any)
{
	return any->type_url != NULL;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Any, any_clear)
