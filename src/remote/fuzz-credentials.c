// SPDX-License-Identifier: Apache-2.0
/* The first byte chooses: what a credential helper answers, or a config.json. */
#include "remote/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *text = (const char *)data + 1;
	g_auto(Credentials) creds = {0};
	g_autoptr(GError) error = NULL;
	if (*data == 'h') {
		if (!credential_helper_parse(text, size - 1, &creds, &error))
			g_assert_nonnull(error);
		return 0;
	}
	g_autofree char *helper = NULL;
	if (!docker_config_parse(text, size - 1, *data == 'd' ? "registry-1.docker.io" : "r.example:5000",
	                         &helper, &creds, &error)) {
		g_assert_nonnull(error);
		g_assert_null(helper);
	} else if (helper != NULL) {
		g_assert_true(credential_helper_name_valid(helper));
	}
	return 0;
}
