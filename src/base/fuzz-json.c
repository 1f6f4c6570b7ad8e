// SPDX-License-Identifier: Apache-2.0
/* Whatever is accepted must survive being written and read again. */
#include "base/json.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) o = json_parse((const char *)data, size, 0, &error);
	g_assert((o == NULL) == (error != NULL));
	if (o == NULL)
		return 0;
	g_autofree char *text = json_to_text(o), *pretty = json_to_text_pretty(o);
	g_autoptr(JsonObject) again = json_parse(text, strlen(text), 0, &error);
	g_assert_no_error(error);
	g_autoptr(JsonObject) from_pretty = json_parse(pretty, strlen(pretty), 0, &error);
	g_assert_no_error(error);
	g_autofree char *text2 = json_to_text(again), *text3 = json_to_text(from_pretty);
	g_assert_cmpstr(text, ==, text2);
	g_assert_cmpstr(text, ==, text3);
	return 0;
}
