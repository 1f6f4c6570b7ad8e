// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Registries that ctr itself speaks with: `content fetch-object`, `fetch-blob`, `push-object` (upstream
 * cmd/ctr/commands/resolver.go). All else goes through the daemon. libcurl is loaded when the first resolver
 * is made (lazy/), so that other commands do not pay for it.
 */

#include "ctr/ctr.h"
#include "remote/resolver.h"

typedef struct {
	HttpClient *http;
	HttpTls *tls;
	char *username, *secret;
	RegistrySettings *settings;
	RegistryOptions options;
	Resolver *resolver;
} CtrRegistry;

/* A resolver from the flags in flags_registry. ret is cleared by the caller, also after a failure. */
bool ctr_registry_open(Cli *cli, const char *ref, CtrRegistry *ret, GError **error);
void ctr_registry_clear(CtrRegistry *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CtrRegistry, ctr_registry_clear)
