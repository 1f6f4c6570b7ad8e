// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the list functions of all stores share: their filters, and fields as upstream's adaptors give them. */

#include "base/error.h"
#include "base/util.h"
#include "oci/filters.h"
#include <string.h>

/* A field that is there where it is not empty. */
static inline const char *filter_text(const char *s, bool *present)
{
	*present = !str_empty(s);
	return s;
}

/* path is exactly of one name, or begins with it. */
static inline bool filter_is(const char *const *path, size_t n, const char *name)
{
	return n > 0 && strcmp(path[0], name) == 0;
}

/* The filters of images, containers, sandboxes and leases; the class stands twice in upstream's text too. */
static inline Filter *filter_parse_list(const char *const *filters, GError **error)
{
	g_autoptr(GError) cause = NULL;
	Filter *filter = filter_parse_all(filters, &cause);
	if (filter == NULL)
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "%s", cause->message);
	return filter;
}
