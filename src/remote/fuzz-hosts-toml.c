// SPDX-License-Identifier: Apache-2.0
/* A hosts.toml of any bytes: no crash, and what is accepted is fit to be used. */
#include "remote/hosts-toml.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) hosts =
	        hosts_toml_parse((const char *)data, size, "/d/hosts.toml", warnings, &error);
	if (hosts == NULL) {
		g_assert_true(g_str_has_prefix(error->message, "/d/hosts.toml:"));
		return 0;
	}
	g_assert_cmpuint(hosts->len, >, 0);
	for (guint i = 0; i < hosts->len; i++) {
		const HostConfig *h = hosts->pdata[i];
		g_assert_true(h->host != NULL || i + 1 == hosts->len);
		for (size_t j = 0; h->ca != NULL && h->ca[j] != NULL; j++)
			g_assert_true(*h->ca[j] == '/');
		for (size_t j = 0; h->headers != NULL && h->headers[j] != NULL; j++)
			g_assert_null(strpbrk(h->headers[j], "\r\n"));
	}
	return 0;
}
