// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a pull of a reference would do, for `ctr registry explain`: the hosts in their order, where each is
 * configured, with which certificates, headers (without their values) and credentials (who has them, not
 * what they are). May run credential helpers; contacts registries only with `attempt`.
 */

#include "base/json.h"
#include "remote/resolver.h"

typedef struct {
	const RegistryOptions *registry;
	const char *const *headers; // of the request; NULL: none
	const HttpTrace *trace;     // NULL: none
	bool attempt;               // ask each host for the reference
} ExplainOptions;
/* {"reference", "name", "repository", "hosts": [{"url", "capabilities", "configured", "tls", "headers",
 * "dialTimeout", "httpFallback", "credentials", "error", "attempt": {"digest", "mediaType", "error"}}],
 * "warnings": []}; what is not so is left out. NULL where the reference or its configuration is wrong. */
JsonObject *registry_explain(const ExplainOptions *options, const char *ref, Cancel *cancel, GError **error);
