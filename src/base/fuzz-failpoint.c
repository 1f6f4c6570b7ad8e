// SPDX-License-Identifier: Apache-2.0
/* The terms of failpoints: what is understood is written as something that is understood the same. */
#include "base/failpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autofree char *once = failpoint_normalize(size > 0 ? text : "", NULL);
	if (once == NULL)
		return 0;
	g_autoptr(GError) error = NULL;
	g_autofree char *twice = failpoint_normalize(once, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(once, ==, twice);
	return 0;
}
