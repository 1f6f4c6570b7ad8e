// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Filters of list requests (upstream pkg/filters): `labels."a.b"==c,name~=^x`. A filter is selectors joined
 * by commas, all of which must hold; of several filters one must. Made once, matched often, from any thread.
 *
 * Regular expressions are Go's in upstream; here they are PCRE's without what Go does not have (an expression
 * with look-around or back-references does not match, as one that does not compile), with bounded
 * backtracking.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct Filter Filter;

/* The value of a field, given by its path ("labels", "a.b"); *present says whether the object has it. NULL is
 * "". The result must live until the match is over. */
typedef const char *(*FilterField)(const char *const *path, size_t n, bool *present, void *data);

/* NULL or empty list: everything matches. Error texts as upstream, class INVALID_ARGUMENT:
 * `filters: parse error: [name >|=|< foo]: expected an operator ("=="|"!="|"~="): invalid argument`. */
Filter *filter_parse_all(const char *const *filters, GError **error);
/* One; without the last `: invalid argument`. */
Filter *filter_parse(const char *filter, GError **error);
bool filter_match(const Filter *filter, FilterField field, void *data);
/* Nothing is filtered out: callers may skip building what the fields need. */
bool filter_is_always(const Filter *filter);
void filter_free(Filter *filter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Filter, filter_free)

/* For adaptors: the entry of a strmap whose key is path[0..n) joined by dots, as upstream looks labels up.
 * NULL map is empty. */
const char *filter_map_field(GHashTable *map, const char *const *path, size_t n, bool *present);
