// SPDX-License-Identifier: Apache-2.0
#include "remote/challenge.h"
#include "remote/registry-error.h"
#include "remote/url.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(Challenge) c = challenge_parse(text);
	g_autofree char *redacted = url_redact(text);
	g_autofree char *resolved = url_resolve("https://registry.example:5000/v2/a?b=c", text);
	if (resolved != NULL)
		g_assert(url_is_http(resolved));
	g_autofree char *error = registry_error_text(text, size < REGISTRY_ERROR_BODY_MAX ? strlen(text) : 0);
	return 0;
}
