// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/log.h"
#include "oci/filters.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *field(const char *const *path, size_t n, bool *present, void *data)
{
	g_assert(n > 0 && path[0] != NULL);
	*present = true;
	return data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *s = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	log_set_level(LOG_FATAL); // expressions that do not compile are logged
	g_autoptr(Filter) f = filter_parse_all((const char *[]){s, "name==x", NULL}, &error);
	g_assert((f == NULL) == (error != NULL));
	if (f != NULL) {
		filter_match(f, field, (void *)"some value");
		filter_match(f, field, s);
	}
	return 0;
}
