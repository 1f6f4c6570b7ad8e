// SPDX-License-Identifier: Apache-2.0

/* What a daemon writes to a starting shim, and log URIs. */

#include "shim/bootstrap.h"
#include "shim/log-uri.h"
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *no_env(const char *name)
{
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Args args = {.ns = (char *)"default",
	                    .id = (char *)"box",
	                    .address = (char *)"",
	                    .publish_binary = (char *)""};
	Bootstrap b = {0};
	if (bootstrap_parse(&args, data, size, no_env, &b, NULL)) {
		g_autofree char *address = bootstrap_address(&b, b.id);
		bootstrap_clear(&b);
	}
	g_autofree char *text = g_strndup((const char *)data, size);
	LogUri uri = {0};
	log_uri_parse(text, &uri, NULL);
	log_uri_clear(&uri);
	return 0;
}
