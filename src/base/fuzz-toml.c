// SPDX-License-Identifier: Apache-2.0

/* Anything may be parsed or refused; what was parsed must survive writing and parsing again. */

#include "base/toml.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(TomlValue) doc = toml_parse((const char *)data, size, "fuzz.toml", &error);

	g_assert((doc == NULL) == (error != NULL));
	if (doc == NULL)
		return 0;
	g_autoptr(GString) text = g_string_new(NULL);
	toml_write(text, doc);
	g_autoptr(TomlValue) again = toml_parse(text->str, text->len, "again.toml", &error);
	g_assert_no_error(error);
	g_assert_true(toml_equal(doc, again));
	g_autoptr(TomlValue) copy = toml_copy(doc);
	toml_sort(copy, true);
	g_assert_true(toml_equal(doc, copy));
	return 0;
}
