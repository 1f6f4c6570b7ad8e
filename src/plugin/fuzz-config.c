// SPDX-License-Identifier: Apache-2.0

/* Any file may be loaded or refused. What was loaded and can be dumped gives the same when the dump is
 * loaded. */

#include "plugin/config.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Config) config = config_new();

	if (!config_load_data(config, (const char *)data, size, "fuzz.toml", &error)) {
		g_assert_nonnull(error);
		return 0;
	}
	size_t n = 0;
	const ConfigSchema *const *schemas = config_schemas(&n);
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GError) invalid = NULL;
		g_autoptr(TomlValue) view = config_decode_plugin(config, schemas[i], &invalid);
		g_autoptr(GPtrArray) deprecations = g_ptr_array_new();

		g_assert((view == NULL) == (invalid != NULL));
		if (view != NULL && schemas[i]->validate != NULL)
			g_assert(schemas[i]->validate(view, deprecations, &invalid) == (invalid == NULL));
	}
	g_autoptr(GString) text = g_string_new(NULL);
	if (!config_dump(config, text, &error))
		return 0;
	g_autoptr(Config) again = config_new();
	g_assert_true(config_load_data(again, text->str, text->len, "dump.toml", &error));
	g_autoptr(GString) second = g_string_new(NULL);
	g_assert_true(config_dump(again, second, &error));
	// default lists of imports and the like must not grow from dump to dump
	g_assert_cmpstr(text->str, ==, second->str);
	return 0;
}
